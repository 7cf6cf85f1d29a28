package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
)

type groupCreateOptions struct {
	streams  *Streams
	fields   groupFields
	storages []string
}

func newGroupCreate(s *Streams) *cobra.Command {
	o := &groupCreateOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a group (administrators)",
		Long: `Create a group. Users join it with "paictl user edit NAME --add-group GROUP", and "paictl storage grant GROUP STORAGE" lets them mount
a storage.

A name is any text of one line without "/", unlike those of users: it is for people, often as it is at an identity provider, and nothing
else is made of it.`,
		Example: `  paictl group create research --description "People who search" --virtual-cluster research
  paictl group create guests --storage public-data`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runGroupCreate(cmd.Context(), o, cmd, args[0]) },
	}
	o.fields.add(cmd)
	cmd.Flags().StringArrayVar(&o.storages, "storage", nil, "a storage that members may mount (again for more)")
	completeFlag(cmd, "storage", storageNames)
	return cmd
}

func runGroupCreate(ctx context.Context, o *groupCreateOptions, cmd *cobra.Command, arg string) error {
	name, err := pai.ParseGroupName(arg)
	if err != nil {
		return usageError{err}
	}
	c, _, err := connect(cmd)
	if err != nil {
		return err
	}
	order := o.fields.change(cmd, name)
	if len(o.storages) > 0 {
		setACL(&order, "storageConfigs", o.storages)
	}
	if err := c.CreateGroup(ctx, order); err != nil {
		return err
	}
	g, _, err := c.Group(ctx, name)
	if err != nil {
		return err
	}
	return printResult(o.streams, cmd, g, func() error {
		_, err := fmt.Fprintf(o.streams.Out, "group %s is created\n", name)
		return err
	})
}

// groupFields are the flags for what a group is.
type groupFields struct {
	description     string
	externalName    string
	admin           bool
	virtualClusters []string
}

func (f *groupFields) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.description, "description", "", "what the group is for")
	flags.StringVar(&f.externalName, "external-name", "", "the group's name at the identity provider")
	flags.BoolVar(&f.admin, "admin", false, "make the members administrators; --admin=false takes that back")
	flags.StringArrayVar(&f.virtualClusters, "virtual-cluster", nil, "a virtual cluster that members may use (again for more): replaces those so far; \"\" for none")
}

// change is what the flags that were given ask for.
func (f *groupFields) change(cmd *cobra.Command, name pai.GroupName) client.GroupChange {
	change := client.GroupChange{Groupname: string(name)}
	given := cmd.Flags().Changed
	if given("description") {
		change.Description = &f.description
	}
	if given("external-name") {
		change.ExternalName = &f.externalName
	}
	if given("admin") {
		setACL(&change, "admin", f.admin)
	}
	if given("virtual-cluster") {
		list := []string{}
		for _, name := range f.virtualClusters {
			if name != "" {
				list = append(list, name)
			}
		}
		setACL(&change, "virtualClusters", list)
	}
	return change
}

// setACL adds a key of acls to a change.
func setACL(change *client.GroupChange, key string, value any) {
	if change.Extension == nil {
		change.Extension = map[string]any{"acls": map[string]any{}}
	}
	change.Extension["acls"].(map[string]any)[key] = value
}
