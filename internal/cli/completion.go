package cli

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
)

// completionTimeout is how long a shell waits for names after the tab key.
const completionTimeout = 2 * time.Second

// nameLister asks the server for the names that a shell may complete. Its arguments are those typed so far.
type nameLister func(ctx context.Context, c *client.Client, t target, args []string) ([]string, error)

// completeNames completes the first so many arguments of a command with names from the server, where somebody is signed in there. Use it as
// a command's ValidArgsFunction; at most 0 is any number.
func completeNames(most int, list nameLister) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		c, t, err := connect(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names, err := list(ctx, c, t, args)
		if err != nil {
			cobra.CompDebugln(err.Error(), false)
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		fitting := slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, start) || slices.Contains(args, name) })
		return fitting, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFlag completes the value of a flag with names from the server.
func completeFlag(cmd *cobra.Command, flag string, list nameLister) {
	if err := cmd.RegisterFlagCompletionFunc(flag, completeNames(0, list)); err != nil {
		panic(err) // there is no such flag, which every test meets
	}
}

// completeWords completes the value of a flag with words that are known here.
func completeWords(cmd *cobra.Command, flag string, words []string) {
	list := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return words, cobra.ShellCompDirectiveNoFileComp
	}
	if err := cmd.RegisterFlagCompletionFunc(flag, list); err != nil {
		panic(err) // as in completeFlag
	}
}

// completedJobs is how many jobs a shell offers, the latest.
const completedJobs = 200

// jobNames are those of the user's latest jobs, and for administrators everybody's, as USER~NAME.
func jobNames(ctx context.Context, c *client.Client, t target, _ []string) ([]string, error) {
	own, _, err := c.Jobs(ctx, pai.JobQuery{User: pai.UserName(t.user), Limit: completedJobs})
	var names []string
	for _, j := range own {
		names = append(names, j.Name)
	}
	if !t.admin || err != nil {
		return names, err
	}
	all, _, err := c.Jobs(ctx, pai.JobQuery{Limit: completedJobs})
	for _, j := range all {
		names = append(names, j.Username+"~"+j.Name)
	}
	return names, err
}

// jobThenTags are jobs as the first argument and the tags of that one after it.
func jobThenTags(ctx context.Context, c *client.Client, t target, args []string) ([]string, error) {
	if len(args) == 0 {
		return jobNames(ctx, c, t, args)
	}
	id, err := jobArgument(args[0], t.user)
	if err != nil {
		return nil, err
	}
	job, err := c.Job(ctx, id)
	return job.Tags, err
}

// userNames are those of all users, for administrators; one's own for others.
func userNames(ctx context.Context, c *client.Client, t target, _ []string) ([]string, error) {
	if !t.admin {
		return []string{t.user}, nil
	}
	users, err := c.Users(ctx)
	names := make([]string, len(users))
	for i, u := range users {
		names[i] = u.Username
	}
	return names, err
}

// groupNames are those of all groups.
func groupNames(ctx context.Context, c *client.Client, _ target, _ []string) ([]string, error) {
	groups, err := c.Groups(ctx)
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = g.Groupname
	}
	return names, err
}

// storageNames are those of the storages that the user may see.
func storageNames(ctx context.Context, c *client.Client, _ target, _ []string) ([]string, error) {
	storages, err := c.Storages(ctx, false)
	names := make([]string, len(storages))
	for i, st := range storages {
		names[i] = st.Name
	}
	return names, err
}

// roleNames are those of the task roles of the job that is typed already.
func roleNames(ctx context.Context, c *client.Client, t target, args []string) ([]string, error) {
	if len(args) == 0 {
		return nil, nil
	}
	id, err := jobArgument(args[0], t.user)
	if err != nil {
		return nil, err
	}
	job, err := c.Job(ctx, id)
	return slices.Sorted(maps.Keys(job.TaskRoles)), err
}

// tokenIDs are those of the user's own tokens.
func tokenIDs(ctx context.Context, c *client.Client, _ target, _ []string) ([]string, error) {
	tokens, err := c.Tokens(ctx)
	ids := make([]string, len(tokens))
	for i, t := range tokens {
		ids[i] = t.ID
	}
	return ids, err
}

// groupThenStorages are groups as the first argument and storages after it.
func groupThenStorages(ctx context.Context, c *client.Client, t target, args []string) ([]string, error) {
	if len(args) == 0 {
		return groupNames(ctx, c, t, args)
	}
	return storageNames(ctx, c, t, args)
}

// signedInUsers completes --user with those who are signed in at the server.
func signedInUsers(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	all, err := loadCredentials()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return slices.Sorted(maps.Keys(all.Servers[chooseServer(cmd, all)].Users)), cobra.ShellCompDirectiveNoFileComp
}
