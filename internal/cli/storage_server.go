package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pai-storage/pai-storage/internal/plural"
	"github.com/pai-storage/pai-storage/internal/rollout"
	"github.com/pai-storage/pai-storage/internal/term"
)

func newStorageServer(s *Streams) *cobra.Command {
	cmd := &cobra.Command{Use: "storage-server", Short: "Look at the NFS and SMB servers of the storage manager", Args: cobra.NoArgs}
	cmd.AddCommand(newStorageServerStatus(s))
	return cmd
}

func newStorageServerStatus(s *Streams) *cobra.Command {
	var kubeconfig string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show servers, shares, clients, capacity, and the state of the domain",
		Long: `Show servers, shares, clients, capacity, and the state of the domain. The storage managers are asked themselves, through Kubernetes: it takes
the right to run commands in pods of pai-system.

Files are counted now and then, and the count says how old it is: some seconds after a change where there are few files, a quarter of an
hour at most where counting takes long.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showStorageServers(cmd.Context(), s, cmd, kubeconfig)
		},
	}
	cmd.Flags().StringVar(&kubeconfig, "kubeconfig", "", kubeconfigHelp)
	return cmd
}

func showStorageServers(ctx context.Context, s *Streams, cmd *cobra.Command, kubeconfig string) error {
	services, err := connectKubernetes(kubeconfig)
	if err != nil {
		return err
	}
	list, err := services.StorageServers(ctx)
	if err != nil {
		return err
	}
	return printResult(s, cmd, map[string]any{"storageServers": list}, func() error {
		if len(list) == 0 {
			_, err := fmt.Fprintln(s.Out, "no storage manager runs; see: paictl service status")
			return err
		}
		for i, server := range list {
			if i > 0 {
				fmt.Fprintln(s.Out)
			}
			if err := printStorageServer(s.Out, time.Now(), server); err != nil {
				return err
			}
		}
		return nil
	})
}

// storageServerStatus is the part of what a storage manager says that people see.
type storageServerStatus struct {
	SecurityType string
	LocalPath    string
	Capacity     struct{ Total, Free uint64 }
	Servers      []struct {
		Name     string
		Healthy  bool
		Reason   string
		Since    time.Time
		Restarts int
	}
	Folders []storageFolder
	Exports []struct {
		Path                    string
		Reads, Writes           uint64
		BytesRead, BytesWritten uint64
	}
	NFSAllowedClients []netip.Prefix
	Clients           []struct {
		Protocol, User string
		Address        netip.Addr
	}
	Accounts        []string
	RefusedAccounts []struct{ Name, Reason string }
	Domain          *struct {
		Realm, Reason string
		Joined        bool
	}
	Fault string
}

// storageFolder is what lay in a folder of the shares when it was counted.
type storageFolder struct {
	Share        string
	Files, Bytes int64
	Counted      time.Time // zero while the first count goes on
}

// text says how much there was, and how old that is.
func (f storageFolder) text(now time.Time) string {
	if f.Counted.IsZero() {
		return "files are being counted"
	}
	return fmt.Sprintf("%s, %s, %s ago", plural.Of(f.Files, "file"), bytesText(uint64(f.Bytes)), ageOf(now, &f.Counted))
}

func printStorageServer(out io.Writer, now time.Time, server rollout.StorageServer) error {
	if server.Status == nil {
		_, err := fmt.Fprintf(out, "%s: %s\n", server.Node, server.Fault)
		return err
	}
	var status storageServerStatus
	if err := json.Unmarshal(server.Status, &status); err != nil {
		return fmt.Errorf("%s: %w", server.Node, err)
	}
	rows := [][]string{{server.Node, fmt.Sprintf("%s, %s of %s free", status.LocalPath, bytesText(status.Capacity.Free), bytesText(status.Capacity.Total))}}
	for _, x := range status.Servers {
		state := "serves since " + x.Since.Local().Format(time.DateTime)
		if !x.Healthy {
			state = "does not serve: " + x.Reason
		}
		if x.Restarts > 0 {
			state += ", started anew " + plural.Of(x.Restarts, "time")
		}
		rows = append(rows, []string{x.Name, state})
	}
	for _, x := range status.Exports {
		line := fmt.Sprintf("NFS: %s read, %s written", bytesText(x.BytesRead), bytesText(x.BytesWritten))
		for _, f := range status.Folders {
			if "/"+f.Share == x.Path {
				line = f.text(now) + "; " + line
			}
		}
		rows = append(rows, []string{x.Path, line})
	}
	allowed := make([]string, len(status.NFSAllowedClients))
	for i, p := range status.NFSAllowedClients {
		allowed[i] = strings.TrimSuffix(p.String(), "/32")
	}
	rows = append(rows, []string{"NFS for", strings.Join(allowed, ", ")}, []string{"SMB accounts", strings.Join(append([]string{"the shared one"}, status.Accounts...), ", ")})
	for _, x := range status.RefusedAccounts {
		rows = append(rows, []string{"no SMB account", x.Name + ": " + x.Reason})
	}
	for _, x := range status.Clients {
		rows = append(rows, []string{"client", strings.TrimSpace(fmt.Sprintf("%s %s %s", x.Address, x.Protocol, x.User))})
	}
	if d := status.Domain; d != nil {
		state := "joined"
		if !d.Joined {
			state = "not joined: " + d.Reason
		}
		rows = append(rows, []string{"domain " + d.Realm, state})
	}
	if status.Fault != "" {
		rows = append(rows, []string{"configuration", "the newest one is not in use: " + status.Fault})
	}
	return term.Table(out, nil, rows)
}

// bytesText is a size for people.
func bytesText(n uint64) string {
	size, units := float64(n), []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	i := 0
	for ; size >= 1024 && i < len(units)-1; i++ {
		size /= 1024
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", size, units[i])
}
