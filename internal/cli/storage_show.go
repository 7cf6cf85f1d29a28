package cli

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/term"
)

func newStorageShow(s *Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "show STORAGE",
		Short: "Show a storage",
		Example: `  paictl storage show nfs-storage
  paictl storage show nfs-storage --output yaml`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeNames(1, storageNames),
		RunE:              func(cmd *cobra.Command, args []string) error { return runStorageShow(cmd.Context(), s, cmd, args[0]) },
	}
}

func runStorageShow(ctx context.Context, s *Streams, cmd *cobra.Command, arg string) error {
	name, err := pai.ParseStorageName(arg)
	if err != nil {
		return usageError{err}
	}
	c, _, err := connect(cmd)
	if err != nil {
		return err
	}
	st, err := c.Storage(ctx, name)
	if err != nil {
		return err
	}
	result := struct {
		storageResult
		ReadOnly bool `json:"readOnly"`
	}{shownStorage(st), st.ReadOnly}
	return printResult(s, cmd, result, func() error {
		rows := [][]string{
			{"name", st.Name}, {"kind", kindOf(st)}, {"default", yes(st.Default)}, {"read-only", yes(st.ReadOnly)},
			{"state", stateOf(st)}, {"volume", st.VolumeName}, {"type", st.Type},
		}
		for _, key := range slices.Sorted(maps.Keys(st.Data)) {
			rows = append(rows, []string{key, st.Data[key]})
		}
		if len(st.MountOptions) > 0 {
			rows = append(rows, []string{"mount options", strings.Join(st.MountOptions, ",")})
		}
		return term.Table(s.Out, nil, rows)
	})
}
