package kube

import (
	"context"

	pai "github.com/pai-storage/pai-storage"
)

var errPending = pai.Errorf(pai.UnknownError, "not there yet")

func (c *Cluster) Jobs(context.Context, pai.JobQuery) (pai.JobPage, error) {
	return pai.JobPage{}, errPending
}
func (c *Cluster) JobAttempt(context.Context, pai.JobID, int) (pai.Job, error) {
	return pai.Job{}, errPending
}
func (c *Cluster) JobConfig(context.Context, pai.JobID) ([]byte, error) { return nil, errPending }
func (c *Cluster) TaskHistory(context.Context, pai.JobID, int, string, int) (pai.TaskHistory, error) {
	return pai.TaskHistory{}, errPending
}
func (c *Cluster) JobEvents(context.Context, pai.JobID) ([]pai.JobEvent, error) { return nil, errPending }
func (c *Cluster) Diagnose(context.Context, pai.JobID) (pai.Diagnosis, error) {
	return pai.Diagnosis{}, errPending
}
func (c *Cluster) StopJob(context.Context, pai.JobID) error          { return errPending }
func (c *Cluster) DeleteJob(context.Context, pai.JobID) error        { return errPending }
func (c *Cluster) TagJob(context.Context, pai.JobID, string) error   { return errPending }
func (c *Cluster) UntagJob(context.Context, pai.JobID, string) error { return errPending }
