package cli

import "github.com/spf13/cobra"

func storageCommands(s *Streams) []*cobra.Command {
	return []*cobra.Command{
		newStorageList(s),
		newStorageShow(s),
		newStorageCheck(s),
		newStorageAdd(s),
		newStorageRemove(s),
		newStorageGrant(s),
		newStorageRevoke(s),
		newStoragePassword(s),
	}
}
