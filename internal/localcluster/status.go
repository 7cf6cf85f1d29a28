package localcluster

import (
	"context"
	"errors"
	"os"

	"github.com/pai-storage/pai-storage/internal/proc"
)

// Status is a cluster as people and scripts see it; its JSON is a fixed interface.
type Status struct {
	Name              string         `json:"name"`
	Ready             bool           `json:"ready"`
	Reason            string         `json:"reason,omitempty"` // why it is not ready
	API               string         `json:"api"`
	Portal            string         `json:"portal"`
	Kubeconfig        string         `json:"kubeconfig"`
	Kubectl           string         `json:"kubectl"`
	Workers           []WorkerStatus `json:"workers"`
	AdminUser         string         `json:"adminUser"`
	AdminPasswordFile string         `json:"adminPasswordFile"`
	StateDir          string         `json:"stateDir"`
	Processes         []Process      `json:"processes"`
}

// Process is one of the cluster's processes with its number on this machine.
type Process struct {
	proc.State
}

// GetStatus looks at a cluster. One that does not run is a Status with a reason; one that was never
// started is ErrAbsent.
func GetStatus(ctx context.Context, cfg Config) (Status, error) {
	kept, err := Load(cfg.StateDir)
	if err != nil {
		return Status{}, err
	}
	s := Status{Name: kept.Name, API: kept.API(), Portal: kept.API() + "/", Kubeconfig: kept.KubeconfigFile(),
		Kubectl: kept.Kubectl(), AdminUser: AdminUser, AdminPasswordFile: kept.AdminPasswordFile(), StateDir: kept.StateDir,
		Workers: []WorkerStatus{}, Processes: []Process{}}
	supervisor, alive := kept.supervisorProcess()
	if !alive {
		s.Reason = "it is not running: start it with \"paictl up\""
		return s, nil
	}
	s.Processes = append(s.Processes, Process{proc.State{Name: "supervisor", PID: supervisor.PID, Ready: true}})
	report, err := kept.report(ctx)
	if errors.Is(err, errNotRunning) || err != nil {
		s.Reason = "the supervisor does not answer: " + err.Error()
		return s, nil
	}
	s.fill(report, supervisor.PID)
	return s, nil
}

func (s *Status) fill(r report, supervisor int) {
	outside := outsidePIDs(supervisor)
	for _, p := range r.Processes {
		if pid, ok := outside[p.PID]; ok {
			p.PID = pid
		}
		s.Processes = append(s.Processes, Process{p})
	}
	s.Workers = append(s.Workers, r.Workers...)
	s.Reason = r.broken()
	if !r.Booted {
		s.Reason = "it is still starting"
		for _, step := range r.Steps {
			if step.State == stepFailed {
				s.Reason = step.Name + ": " + step.Text
			}
		}
	}
	s.Ready = s.Reason == ""
}

// outsidePIDs maps the numbers that processes have in the supervisor's PID namespace to the ones that
// they have here.
func outsidePIDs(supervisor int) map[int]int {
	namespace, err := os.Readlink(procPath(supervisor, "ns/pid"))
	if err != nil {
		return nil
	}
	numbers := map[int]int{}
	for _, pid := range allPIDs() {
		if ns, err := os.Readlink(procPath(pid, "ns/pid")); err == nil && ns == namespace {
			if inner, ok := innerPID(pid); ok {
				numbers[inner] = pid
			}
		}
	}
	return numbers
}
