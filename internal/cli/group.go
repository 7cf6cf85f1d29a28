package cli

import "github.com/spf13/cobra"

func groupCommands(s *Streams) []*cobra.Command {
	return []*cobra.Command{
		newGroupShow(s),
		newGroupGrant(s),
	}
}
