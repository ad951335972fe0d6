{{- define "pantograph.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "pantograph.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "pantograph.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "pantograph.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* For what belongs to the whole cluster: two releases of one name in two namespaces are two. */}}
{{- define "pantograph.clusterName" -}}
{{- $name := include "pantograph.fullname" . }}
{{- if eq $name .Release.Namespace }}{{ $name }}{{ else }}{{ printf "%s-%s" .Release.Namespace $name }}{{ end }}
{{- end }}

{{- define "pantograph.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "pantograph.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name: give the ServiceAccount that is there, for serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/*
The name that sources and checkpoints know this installation by. Another one than before would be refused by every
source (CaptureOwned), so the ConfigMap of the first install is asked where it can be.
*/}}
{{- define "pantograph.installation" -}}
{{- $wanted := default .Release.Name .Values.installation }}
{{- $kept := lookup "v1" "ConfigMap" .Release.Namespace (printf "%s-installation" (include "pantograph.fullname" .)) }}
{{- if $kept }}
{{- $before := dig "data" "installation" "" $kept }}
{{- if and $before .Values.installation (ne $before $wanted) }}
{{- fail (printf "installation: this is %q since it was installed, and every source would refuse %q; leave it as it is, or, to have all captures adopted by hand, delete ConfigMap %s-installation first" $before $wanted (include "pantograph.fullname" .)) }}
{{- end }}
{{- default $wanted $before }}
{{- else }}
{{- $wanted }}
{{- end }}
{{- end }}

{{- define "pantograph.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- define "pantograph.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Labels that find the pods of a component: those that the operator gives its reflectors too. */}}
{{- define "pantograph.selector" -}}
app.kubernetes.io/name: pantograph
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/instance: {{ include "pantograph.installation" .top | quote }}
{{- end }}

{{- define "pantograph.labels" -}}
{{ include "pantograph.selector" . }}
app.kubernetes.io/version: {{ .top.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .top.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .top.Chart.Name .top.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "pantograph.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "pantograph.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* What the operator may do in a namespace, or in all: docs/explanation/operator.md. */}}
{{- define "pantograph.rules" -}}
- apiGroups: [pantograph.dev]
  resources: [databases, sourcetables, reflections]
  verbs: [get, list, watch, patch, update]
- apiGroups: [pantograph.dev]
  resources: [databases/status, sourcetables/status, reflections/status]
  verbs: [get, patch, update]
- apiGroups: [pantograph.dev]
  resources: [databases/finalizers, sourcetables/finalizers, reflections/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [secrets, pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, list, watch, create, patch, update, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, update, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch, update, delete]
{{- end }}

{{/* What the operator gives its reflectors where their Database does not say it, as JSON. */}}
{{- define "pantograph.reflectorDefaults" -}}
{{- $defaults := deepCopy .Values.reflector.defaults }}
{{- if .Values.metrics.annotations }}
{{- $scraped := dict "prometheus.io/scrape" "true" "prometheus.io/port" "8080" }}
{{- $_ := set $defaults "podAnnotations" (merge (default (dict) $defaults.podAnnotations) $scraped) }}
{{- end }}
{{- toJson $defaults }}
{{- end }}

{{/* Where a pod may run; of `operator` or `console`. */}}
{{- define "pantograph.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .topologySpreadConstraints }}
topologySpreadConstraints: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end }}
