package cli

import "github.com/spf13/cobra"

func userCommands(s *Streams) []*cobra.Command {
	return []*cobra.Command{
		newUserCreate(s),
	}
}
