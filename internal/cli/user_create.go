package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
)

type userCreateOptions struct {
	streams  *Streams
	password passwordFlags
	admin    bool
	email    string
	clusters []string
}

func newUserCreate(s *Streams) *cobra.Command {
	o := &userCreateOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a user (administrators)",
		Long: `Create a user. Every user is a member of the group "default".

A name has letters, digits, "_", "-" and "." only: it is also a folder, an account at the SMB server, and a part of the names of jobs.
Where the SMB server cannot tell the name from another one, a warning says so.`,
		Example: `  paictl user create alice
  paictl user create bob --password-file bob.password`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runUserCreate(cmd.Context(), o, cmd, args[0]) },
	}
	o.password.add(cmd)
	cmd.Flags().BoolVar(&o.admin, "admin", false, "make the user an administrator")
	cmd.Flags().StringArrayVar(&o.clusters, "virtual-cluster", nil, "a virtual cluster that the user may use besides the default one (again for more)")
	cmd.Flags().StringVar(&o.email, "email", "", "the user's email address")
	return cmd
}

func runUserCreate(ctx context.Context, o *userCreateOptions, cmd *cobra.Command, arg string) error {
	name, err := pai.ParseUserName(arg)
	if err != nil {
		return usageError{err}
	}
	c, _, err := connect(cmd)
	if err != nil {
		return err
	}
	password, err := o.password.read(o.streams, arg, true)
	if err != nil {
		return err
	}
	warning, err := c.CreateUser(ctx, client.NewUser{
		Username: string(name), Password: string(password), Admin: o.admin, Email: o.email,
		VirtualCluster: o.clusters})
	if err != nil {
		return err
	}
	warnings := []string{}
	if warning != "" {
		warnings = append(warnings, warning)
		fmt.Fprintf(o.streams.Err, "warning: %s\n", warning)
	}
	return printResult(o.streams, cmd, map[string]any{"user": name, "admin": o.admin, "warnings": warnings}, func() error {
		_, err := fmt.Fprintf(o.streams.Out, "user %s is created\n", name)
		return err
	})
}
