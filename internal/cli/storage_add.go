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
)

type storageAddOptions struct {
	streams *Streams
	order   client.Declaration
	options []string
	secret  string // file
	grant   []string
	dryRun  bool
	noWait  bool
	timeout time.Duration
}

func newStorageAdd(s *Streams) *cobra.Command {
	o := &storageAddOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "add NAME URL",
		Short: "Declare a storage (administrators)",
		Long: `Declare a storage: its volume, its claim and, where it needs one, its secret are made in one step, or not at all. Then
wait until it is bound, and grant it.

URL says where it is:
  nfs://SERVER/PATH             smb://HOST/SHARE
  azblob://CONTAINER            azfile://SHARE
  hostpath:///PATH              local://NODE[,NODE...]/PATH

Secrets never go on the command line. --secret-from reads them from a file of KEY=VALUE lines, or of a JSON object:
  smb     username, password, domain
  azblob  accountname, and accountkey or accountsastoken
  azfile  azurestorageaccountname, azurestorageaccountkey`,
		Example: `  paictl storage add nfs-storage nfs://10.0.0.1/data --grant default
  paictl storage add home nfs://10.0.0.1/users --personal --mount-option nfsvers=4.1 --mount-option hard
  paictl storage add team smb://fileserver/team --secret-from team.secret --read-only
  paictl storage add archive azblob://archive --secret-name azure-secret --dry-run`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return runStorageAdd(cmd.Context(), o, cmd, args) },
	}
	f := cmd.Flags()
	f.BoolVar(&o.order.Personal, "personal", false, "each user sees only a folder of the user's own")
	f.BoolVar(&o.order.ReadOnly, "read-only", false, "jobs can only read it")
	f.StringVar(&o.order.Size, "size", "", "what the claim asks for (default 10Gi)")
	f.StringArrayVar(&o.order.MountOptions, "mount-option", nil, "one mount option (again for more)")
	f.StringArrayVar(&o.options, "option", nil, "one option of the volume's driver, as NAME=VALUE (again for more)")
	f.StringVar(&o.order.SecretName, "secret-name", "", "a Secret of the jobs namespace that is there already")
	f.StringVar(&o.secret, "secret-from", "", "`file` with what a new Secret holds; - for standard input")
	f.StringArrayVar(&o.grant, "grant", nil, "grant it to this group (again for more)")
	f.BoolVar(&o.dryRun, "dry-run", false, "only show the objects that would be made")
	f.BoolVar(&o.noWait, "no-wait", false, "do not wait until it is bound")
	f.DurationVar(&o.timeout, "timeout", time.Minute, "how long to wait until it is bound")
	cmd.MarkFlagsMutuallyExclusive("secret-name", "secret-from")
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
	st, err := c.Storage(ctx, pai.StorageName(made.Name))
	if err != nil {
		return err
	}
	return printResult(o.streams, cmd, map[string]any{"storage": st, "secret": made.SecretName, "granted": o.grant}, func() error {
		_, err := fmt.Fprintf(o.streams.Out, "storage %s is declared: %s, volume %s, %s%s\n",
			st.Name, st.Type, made.VolumeName, firstOf(st.Reason, "ready"), grantedText(o.grant))
		return err
	})
}

func grantedText(groups []string) string {
	if len(groups) == 0 {
		return "; grant it with: paictl storage grant GROUP STORAGE"
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

// place reads where a storage is.
func place(text string, d *client.Declaration) error {
	u, err := url.Parse(text)
	if err != nil || u.RawQuery != "" || u.Fragment != "" || u.Port() != "" {
		return errors.New("where the storage is: expected a URL such as nfs://SERVER/PATH; see --help") // it may have a password in it
	}
	if u.User != nil {
		return errors.New("a URL with a user or a password in it would be seen by everybody on this machine: use --secret-from")
	}
	if (u.Host == "") != (u.Scheme == "hostpath") {
		return fmt.Errorf("%q does not say where the storage is; see --help", text)
	}
	share := strings.TrimPrefix(u.Path, "/")
	switch u.Scheme {
	case "nfs":
		d.Type, d.Server, d.Path = pai.StorageNFS, strings.Trim(u.Host, "[]"), firstOf(u.Path, "/")
	case "smb", "cifs":
		d.Type, d.Address = pai.StorageSamba, "//"+u.Host+"/"+share
	case "azblob":
		d.Type, d.ContainerName = pai.StorageAzureBlob, u.Host
	case "azfile":
		d.Type, d.ShareName = pai.StorageAzureFile, u.Host
	case "hostpath":
		d.Type, d.Path = pai.StorageHostPath, u.Path
	case "local":
		d.Type, d.Path, d.Nodes = pai.StorageLocal, u.Path, strings.Split(u.Host, ",")
	default:
		return fmt.Errorf("%q: choose nfs, smb, azblob, azfile, hostpath or local", u.Scheme+"://")
	}
	if (u.Scheme == "azblob" || u.Scheme == "azfile") && share != "" {
		return fmt.Errorf("%s://NAME takes no path: the account's name is in the secret", u.Scheme)
	}
	return nil
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

// wait asks until the storage is bound.
func (o *storageAddOptions) wait(ctx context.Context, c *client.Client, name pai.StorageName) error {
	const interval = 300 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
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
		case <-time.After(interval):
		case <-ctx.Done():
			return fmt.Errorf("storage %s is declared, and not bound after %s: %s", name, o.timeout, said)
		}
	}
}
