package cli

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/term"
)

type storageListOptions struct {
	streams  *Streams
	defaults bool
	all      bool
}

func newStorageList(s *Streams) *cobra.Command {
	o := &storageListOptions{streams: s}
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the storages that you may use; administrators see all",
		Long: `List the storages that you may use. Administrators see every storage, also those that none of their groups grants and that their own jobs
cannot mount; those that they can are in "paictl user show".

"ready" says that a storage is bound to its volume, so that jobs with it start. Whether workers can mount it: "paictl node check".`,
		Example: `  paictl storage list
  paictl storage list --default --output json
  paictl storage list --all`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runStorageList(cmd.Context(), o, cmd) },
	}
	cmd.Flags().BoolVar(&o.defaults, "default", false, "only those that an empty list in a job means")
	cmd.Flags().BoolVar(&o.all, "all", false, "every storage, with its state, groups and jobs (administrators)")
	cmd.MarkFlagsMutuallyExclusive("default", "all")
	return cmd
}

// storageResult is a storage as its users see it, with what tables say of it.
type storageResult struct {
	client.Storage
	Kind  string `json:"kind"`
	State string `json:"state"`
}

func shownStorage(st client.Storage) storageResult {
	return storageResult{Storage: st, Kind: kindOf(st), State: stateOf(st)}
}

// overviewResult is a storage as administrators see it. What the table has is there also when it is empty.
type overviewResult struct {
	client.StorageOverview
	Type     string   `json:"type"`
	Kind     string   `json:"kind"`
	Size     string   `json:"size"`
	ReadOnly bool     `json:"readOnly"`
	Groups   []string `json:"groups"`
	Reason   string   `json:"reason"`
}

func runStorageList(ctx context.Context, o *storageListOptions, cmd *cobra.Command) error {
	c, _, err := connect(cmd)
	if err != nil {
		return err
	}
	if o.all {
		return listAllStorages(ctx, o, cmd, c)
	}
	list, err := c.Storages(ctx, o.defaults)
	if err != nil {
		return err
	}
	shown := []storageResult{}
	for _, st := range list {
		shown = append(shown, shownStorage(st))
	}
	return printResult(o.streams, cmd, map[string]any{"storages": shown}, func() error {
		var rows [][]string
		for _, st := range shown {
			rows = append(rows, []string{st.Name, st.Kind, yes(st.Default), st.VolumeName, st.State})
		}
		return term.Table(o.streams.Out, []string{"NAME", "KIND", "DEFAULT", "VOLUME", "STATE"}, rows)
	})
}

func listAllStorages(ctx context.Context, o *storageListOptions, cmd *cobra.Command, c *client.Client) error {
	all, err := c.AllStorages(ctx)
	if err != nil {
		return err
	}
	shown := []overviewResult{}
	for _, st := range all {
		shown = append(shown, overviewResult{StorageOverview: st, Type: st.Type, Kind: kindOf(st.Storage), Size: st.Size, ReadOnly: st.ReadOnly,
			Groups: list(st.Groups), Reason: waitsText(st.Storage)})
	}
	return printResult(o.streams, cmd, map[string]any{"storages": shown}, func() error {
		var rows [][]string
		for _, st := range shown {
			rows = append(rows, []string{st.Name, st.Type, st.Kind, yes(st.ReadOnly), st.Size, strings.Join(st.Groups, ", "),
				strconv.Itoa(st.RunningJobs), st.State, st.Reason})
		}
		return term.Table(o.streams.Out, []string{"NAME", "TYPE", "KIND", "READ-ONLY", "SIZE", "GROUPS", "JOBS", "STATE", "REASON"}, rows)
	})
}

// waitsText says what a storage waits for, "" when for nothing.
func waitsText(st client.Storage) string {
	if st.BindsWithJob {
		return "binds with the first job"
	}
	return st.Reason
}

func stateOf(st client.Storage) string { return firstOf(waitsText(st), "ready") }

func kindOf(st client.Storage) string {
	if st.Share {
		return "shared"
	}
	return "personal"
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
