package cli

import "github.com/spf13/cobra"

func groupCommands(s *Streams) []*cobra.Command {
	return []*cobra.Command{
		newGroupList(s),
		newGroupShow(s),
		newGroupCreate(s),
		newGroupEdit(s),
		newGroupDelete(s),
	}
}
