package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/term"
)

func userCommands(s *Streams) []*cobra.Command {
	return []*cobra.Command{
		newUserList(s),
		newUserShow(s),
		newUserCreate(s),
		newUserEdit(s),
		newUserDelete(s),
	}
}

// printUser prints what the API shows of a user.
func printUser(s *Streams, u client.User) error {
	return term.Table(s.Out, nil, userRows(u))
}

func userRows(u client.User) [][]string {
	return [][]string{
		{"name", u.Username}, {"email", u.Email}, {"administrator", yes(u.Admin)}, {"groups", listNames(u.Grouplist)},
		{"virtual clusters", listNames(u.VirtualCluster)}, {"storages", listNames(u.StorageConfig)},
	}
}

// listNames joins names for people.
func listNames[T ~string](names []T) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = string(n)
	}
	return strings.Join(out, ", ")
}
