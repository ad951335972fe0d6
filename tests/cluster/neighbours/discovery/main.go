// discovery finds pods as Prometheus does, with its own code, which Debian's build of it leaves out: it reads a whole
// configuration, and whenever what is found changes it writes the targets of each job into a file of its own, in the
// form and with the labels that `file_sd_configs` takes. The first argument is the configuration, the second the folder.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	_ "github.com/prometheus/prometheus/discovery/kubernetes"
)

type group struct {
	Targets []model.LabelValue `json:"targets"`
	Labels  model.LabelSet     `json:"labels"`
}

func main() {
	logger := promslog.New(&promslog.Config{})
	read, err := config.LoadFile(os.Args[1], false, logger)
	if err != nil {
		fail(err)
	}
	jobs, err := read.GetScrapeConfigs()
	if err != nil {
		fail(err)
	}
	wanted := map[string]discovery.Configs{}
	for _, job := range jobs {
		wanted[job.JobName] = job.ServiceDiscoveryConfigs
	}
	registry := prometheus.NewRegistry()
	metrics, err := discovery.CreateAndRegisterSDMetrics(registry)
	if err != nil {
		fail(err)
	}
	manager := discovery.NewManager(context.Background(), logger, registry, metrics)
	if err := manager.ApplyConfig(wanted); err != nil {
		fail(err)
	}
	go manager.Run()
	for found := range manager.SyncCh() {
		for job, groups := range found {
			told := []group{}
			for _, each := range groups {
				for _, target := range each.Targets {
					told = append(told, group{[]model.LabelValue{target["__address__"]}, each.Labels.Merge(target)})
				}
			}
			write(filepath.Join(os.Args[2], strings.ReplaceAll(job, "/", "-")+".json"), told)
		}
	}
}

// write replaces the file at once: who reads it while it is written would find half of it.
func write(path string, told []group) {
	for _, each := range told {
		delete(each.Labels, "__address__")
	}
	text, err := json.Marshal(told)
	if err != nil {
		fail(err)
	}
	if err := os.WriteFile(path+".part", text, 0o644); err != nil {
		fail(err)
	}
	if err := os.Rename(path+".part", path); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
