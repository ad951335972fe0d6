-- Health of Database, SourceTable and Reflection for Argo CD, which takes an object without a script for healthy at once.
-- Ready means configured and replicating; lag does not change it. Stalled means that nothing moves until a person acts.
local health = {status = "Progressing", message = "Waiting for Pantograph's operator"}
local status = obj.status
if status == nil or status.observedGeneration ~= obj.metadata.generation then
  return health
end
local paused = obj.spec.paused or (obj.spec.reflector ~= nil and obj.spec.reflector.paused)
local ready, stalled
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Ready" then
    ready = condition
  elseif condition.type == "Stalled" then
    stalled = condition
  end
end
local function say(word, condition)
  local message = condition.message or ""
  health.status = word
  health.message = condition.reason .. (message ~= "" and ": " .. message or "")
  return health
end
if stalled ~= nil and stalled.status == "True" then
  return say("Degraded", stalled)
end
if paused then
  health.status = "Suspended"
  health.message = "Paused by its spec; changes are noted, and wait"
  return health
end
if ready == nil then
  return health
end
return say(ready.status == "True" and "Healthy" or "Progressing", ready)
