package agent

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pai-storage/pai-storage/internal/mount"
	"github.com/pai-storage/pai-storage/internal/storagecheck"
	"github.com/pai-storage/pai-storage/internal/volume"
)

// looker does single checks.
type looker struct {
	mounter mount.Mounter
	facts   func() storagecheck.Facts
	path    func(context.Context, string) error // looks for a path of the machine
}

// look checks a storage once, with everything that a pod needs of it.
func (l looker) look(ctx context.Context, o storagecheck.Order) storagecheck.Result {
	r := storagecheck.Result{Free: -1, Size: -1}
	facts := l.facts()
	if r.Message = fault(o, facts); r.Message != "" {
		return r
	}
	if o.Driver == volume.OfficialNFS && o.Mount != nil && !facts.Unknown && !facts.Helpers["mount.nfs"] {
		r.Unchecked = true
		r.Message = "the driver " + o.Driver + " has a mount.nfs of its own, and the worker has none to check with: only the driver was looked for"
		return r
	}
	if o.Path != "" {
		if err := l.path(ctx, o.Path); err != nil {
			return l.failed(ctx, r, o, err)
		}
	}
	if o.Mount != nil {
		checked, err := l.mounter.Check(ctx, *o.Mount, o.Secret)
		if err != nil {
			return l.failed(ctx, r, o, err)
		}
		r.Latency, r.Free, r.Size = checked.Total, checked.Usage.Free, checked.Usage.Size
		r.WriteDenied = checked.WriteDenied
	}
	r.OK = true
	return r
}

// fault is what is wrong before anything is tried, in the words that a kubelet would have for it.
func fault(o storagecheck.Order, f storagecheck.Facts) string {
	switch {
	case o.Fault != "":
		return o.Fault
	case o.Flex != "" && !f.Unknown && !slices.Contains(f.Flex, o.Flex):
		return fmt.Sprintf("no volume plugin matched name: flexvolume-%s", o.Flex)
	case o.Driver != "" && !slices.Contains(f.CSI, o.Driver):
		return fmt.Sprintf("driver name %s not found in the list of registered CSI drivers", o.Driver)
	case o.OwnFault != "" && slices.Contains(f.Own, o.Driver):
		return o.OwnFault
	}
	return ""
}

func (l looker) failed(ctx context.Context, r storagecheck.Result, o storagecheck.Order, err error) storagecheck.Result {
	r.Message = clean(err, o.Secret)
	r.Hung = errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil
	return r
}

// hungMessage has the words by which the doctor knows that a server does not answer.
func hungMessage(deadline time.Duration) string {
	return fmt.Sprintf("Connection timed out: the check did not end within %s, and hangs", deadline)
}

// clean is what a report may say of an error: never a secret, whatever the helper repeated.
func clean(err error, s mount.Secret) string {
	text := err.Error()
	for _, key := range s.Keys() {
		// What is shorter is part of words by chance, and would be told by the gaps.
		if value := s[key]; len(value) >= 4 && key != "username" && key != "accountname" && key != "domain" {
			text = strings.ReplaceAll(text, value, "[redacted]")
			text = strings.ReplaceAll(text, url.QueryEscape(value), "[redacted]")
		}
	}
	return clip(strings.ToValidUTF8(text, "?"), longest)
}

// host is the server of a storage, so that one that is dead does not hold up the checks of others.
func host(o storagecheck.Order) string {
	if o.Mount == nil {
		return ""
	}
	v := *o.Mount
	switch {
	case v.Endpoint != "":
		if u, err := url.Parse(v.Endpoint); err == nil {
			return u.Host
		}
		return v.Endpoint
	case v.Kind == mount.NFS:
		if at := strings.Index(v.Source, ":/"); at > 0 {
			return v.Source[:at]
		}
	case v.Kind == mount.SMB:
		name, _, _ := strings.Cut(strings.TrimPrefix(v.Source, "//"), "/")
		return name
	}
	return ""
}
