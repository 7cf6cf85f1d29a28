package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/yamltext"
)

type storageAddOptions struct {
	streams *Streams
	order   client.Declaration
	options []string
	secret  string // file
	server  string
	grant   []string
	dryRun  bool
	noWait  bool
	noCheck bool
	timeout time.Duration
}

func newStorageAdd(s *Streams) *cobra.Command {
	o := &storageAddOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "add NAME URL",
		Short: "Declare a storage (administrators)",
		Long: `Declare a storage: its volume, its claim and, where it needs one, its secret are made in one step, or not at all. Then
grant it, wait until it is bound, and, when it is granted to somebody, until every worker has mounted it to see whether
it can. Exit status 1 when a worker cannot: the storage is there all the same.

URL says where it is:
  nfs://SERVER[:PORT]/PATH                smb://HOST[:PORT]/SHARE[/DIRECTORY]
  azblob://ACCOUNT/CONTAINER[/PREFIX]     azfile://ACCOUNT/SHARE
  s3://BUCKET[/PREFIX]                    hostpath:///PATH
  local://NODE[,NODE...]/PATH

An IPv6 address stands in brackets: nfs://[fd00::10]/data. A port becomes the mount option port=.

azblob://CONTAINER and azfile://SHARE are for secrets that have the account's name in them. --endpoint says where an
object store is that is not the public cloud's, --file-server the same of an Azure File share.

Secrets never go on the command line. --secret-from reads them from a file of KEY=VALUE lines, or of a JSON object:
  smb     username, password, domain
  azblob  accountkey or accountsastoken
  azfile  azurestorageaccountkey
  s3      accesskey, secretkey; or none with --anonymous`,
		Example: `  paictl storage add nfs-storage nfs://10.0.0.1/data --grant default
  paictl storage add home nfs://10.0.0.1/users --personal --mount-option nfsvers=4.1 --mount-option hard
  paictl storage add team smb://fileserver/team --secret-from team.secret --read-only
  paictl storage add archive azblob://team/archive --secret-from blob.secret --grant default
  paictl storage add models s3://models --endpoint https://s3.example.org --secret-from s3.secret
  paictl storage add files azfile://team/files --secret-name azure-secret --dry-run`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return runStorageAdd(cmd.Context(), o, cmd, args) },
	}
	f := cmd.Flags()
	f.BoolVar(&o.order.Personal, "personal", false, "each user sees only a folder of the user's own")
	f.BoolVar(&o.order.ReadOnly, "read-only", false, "jobs can only read it")
	f.StringVar(&o.order.Size, "size", "", "what the claim asks for (default 10Gi)")
	f.StringArrayVar(&o.order.MountOptions, "mount-option", nil, "one mount option (again for more)")
	f.StringArrayVar(&o.options, "option", nil, "one attribute of the volume, as NAME=VALUE (again for more)")
	f.StringVar(&o.order.Endpoint, "endpoint", "", "`URL` of the object store's service (azblob, s3)")
	f.StringVar(&o.order.Region, "region", "", "where the bucket is (s3)")
	f.StringVar(&o.server, "file-server", "", "`host` that has the share, where it is not Azure's own (azfile)")
	f.BoolVar(&o.order.Anonymous, "anonymous", false, "read it without a secret (s3)")
	f.StringVar(&o.order.SecretName, "secret-name", "", "a Secret of the jobs namespace that is there already")
	f.StringVar(&o.secret, "secret-from", "", "`file` with what a new Secret holds; - for standard input")
	f.StringArrayVar(&o.grant, "grant", nil, "grant it to this group (again for more)")
	f.BoolVar(&o.dryRun, "dry-run", false, "only show the objects that would be made")
	f.BoolVar(&o.noWait, "no-wait", false, "do not wait until it is bound")
	f.BoolVar(&o.noCheck, "no-check", false, "do not wait for what workers say about it")
	f.DurationVar(&o.timeout, "timeout", time.Minute, "how long to wait until it is bound, and as long until it is checked")
	cmd.MarkFlagsMutuallyExclusive("secret-name", "secret-from", "anonymous")
	completeFlag(cmd, "grant", groupNames)
	return cmd
}

func runStorageAdd(ctx context.Context, o *storageAddOptions, cmd *cobra.Command, args []string) error {
	if err := o.complete(args); err != nil {
		return err
	}
	c, _, err := connect(cmd)
	if err != nil {
		return err
	}
	for _, group := range o.grant {
		if _, _, err := c.Group(ctx, pai.GroupName(group)); err != nil {
			return fmt.Errorf("nothing is declared: %w", err)
		}
	}
	made, err := c.DeclareStorage(ctx, o.order, o.dryRun)
	if err != nil {
		return err
	}
	if o.dryRun {
		return printResult(o.streams, cmd, made, func() error { _, err := fmt.Fprint(o.streams.Out, made.Manifest); return err })
	}
	for _, group := range o.grant {
		if _, err := c.GrantStorage(ctx, pai.GroupName(group), pai.StorageName(made.Name)); err != nil {
			return fmt.Errorf("storage %s is declared, but not granted to %s: %w", made.Name, group, err)
		}
	}
	if !o.noWait {
		if err := o.wait(ctx, c, pai.StorageName(made.Name)); err != nil {
			return err
		}
	}
	return o.result(ctx, cmd, c, made)
}

// result shows what there is now, and what workers say about it.
func (o *storageAddOptions) result(ctx context.Context, cmd *cobra.Command, c *client.Client, made client.Declared) error {
	st, err := c.Storage(ctx, pai.StorageName(made.Name))
	if err != nil {
		return err
	}
	value := map[string]any{"storage": shownStorage(st), "secret": made.SecretName, "granted": list(o.grant)}
	var checked checkedStorage
	check := len(o.grant) > 0 && !o.noWait && !o.noCheck
	if check {
		w := workerCheck{progress: o.streams.Err, interval: askInterval, timeout: o.timeout, workers: workersOf(c), health: c.StorageHealth}
		if checked, err = w.run(ctx, pai.StorageName(made.Name)); err != nil {
			return err
		}
		value["check"] = checked
	}
	err = printResult(o.streams, cmd, value, func() error {
		_, err := fmt.Fprintf(o.streams.Out, "storage %s is declared: %s, volume %s, %s%s\n",
			st.Name, st.Type, made.VolumeName, stateOf(st), grantedText(made.Name, o.grant))
		if err == nil && check {
			err = checked.print(o.streams.Out, made.Name)
		}
		return err
	})
	if err != nil {
		return err
	}
	return checked.err(made.Name)
}

func grantedText(name string, groups []string) string {
	if len(groups) == 0 {
		return "; workers check it once it is granted, with: paictl storage grant GROUP " + name
	}
	return "; granted to " + strings.Join(groups, ", ")
}

// complete reads the arguments, and the secret.
func (o *storageAddOptions) complete(args []string) error {
	name, err := pai.ParseStorageName(args[0])
	if err != nil {
		return usageError{err}
	}
	o.order.Name = string(name)
	if err := place(args[1], &o.order); err != nil {
		return usageError{err}
	}
	if o.server != "" {
		if o.order.Type != pai.StorageAzureFile {
			return usageError{errors.New("--file-server is for azfile://; other URLs say where the server is")}
		}
		o.order.Server = o.server
	}
	if u, err := url.Parse(o.order.Endpoint); err == nil && u.User != nil {
		return usageError{errors.New("--endpoint with a user or a password in it would be seen by everybody on this machine: use --secret-from")}
	}
	for _, option := range o.options {
		key, value, ok := strings.Cut(option, "=")
		if !ok {
			return usageError{fmt.Errorf("--option %q: expected NAME=VALUE", option)}
		}
		if o.order.Options == nil {
			o.order.Options = map[string]string{}
		}
		o.order.Options[key] = value
	}
	for _, group := range o.grant {
		if _, err := pai.ParseGroupName(group); err != nil {
			return usageError{err}
		}
	}
	if o.secret == "" {
		return nil
	}
	o.order.Secret, err = readSecret(o.streams, o.secret)
	return err
}

// maxSecretFile is far beyond any secret of a storage.
const maxSecretFile = 64 << 10

// readSecret reads KEY=VALUE lines or a JSON object. Messages never quote what was read.
func readSecret(s *Streams, file string) (pai.Secret, error) {
	in := s.In
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("--secret-from: %w", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxSecretFile))
	if err == nil {
		text, err = yamltext.Text(text)
	}
	if err != nil {
		return nil, fmt.Errorf("--secret-from: %w", err)
	}
	out := pai.Secret{}
	if strings.HasPrefix(strings.TrimSpace(string(text)), "{") {
		if err := json.Unmarshal(text, &out); err != nil {
			return nil, usageError{fmt.Errorf("--secret-from %s: not a JSON object of texts", file)}
		}
		return out, nil
	}
	for lines, n := bufio.NewScanner(strings.NewReader(string(text))), 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, usageError{fmt.Errorf("--secret-from %s: line %d is not KEY=VALUE", file, n)}
		}
		out[strings.TrimSpace(key)] = value
	}
	if len(out) == 0 {
		return nil, usageError{fmt.Errorf("--secret-from %s: there is nothing in it", file)}
	}
	return out, nil
}

// askInterval is the pause between two questions whether something has happened.
const askInterval = 300 * time.Millisecond

// wait asks until the storage is bound.
func (o *storageAddOptions) wait(run context.Context, c *client.Client, name pai.StorageName) error {
	ctx, cancel := context.WithTimeout(run, o.timeout)
	defer cancel()
	said := ""
	for {
		st, err := c.Storage(ctx, name)
		switch {
		case err != nil && ctx.Err() == nil:
			return err
		case err == nil && st.Reason == "":
			return nil
		case err == nil && st.Reason != said:
			said = st.Reason
			fmt.Fprintf(o.streams.Err, "... %s\n", said)
		}
		select {
		case <-time.After(askInterval):
		case <-ctx.Done():
			if run.Err() != nil {
				return fmt.Errorf("storage %s is declared, only waiting until it is bound ended: %w", name, context.Cause(run))
			}
			return fmt.Errorf("storage %s is declared, and not bound after %s: %s", name, o.timeout, said)
		}
	}
}
