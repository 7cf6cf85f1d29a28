package storagemanager

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pai-storage/pai-storage/internal/clusterconfig"
	"github.com/pai-storage/pai-storage/internal/fileserver"
	"github.com/pai-storage/pai-storage/internal/proc"
)

// domain is the membership in an Active Directory domain.
type domain struct {
	realm  string
	joined bool
	reason string
	since  time.Time
}

func (d *domain) status() *DomainStatus {
	if d.realm == "" {
		return nil
	}
	return &DomainStatus{Realm: d.realm, Joined: d.joined, Reason: d.reason, Since: d.since}
}

// describe is the domain as the SMB server's configuration has it.
func (d *domain) describe(s clusterconfig.StorageManager) *fileserver.Domain {
	d.realm = s.DefaultRealm
	description := &fileserver.Domain{Realm: s.DefaultRealm, DomainRealm: s.DomainRealm, IDMap: s.IDMap}
	for _, name := range slices.Sorted(maps.Keys(s.Krb5Realms)) {
		r := s.Krb5Realms[name]
		description.Realms = append(description.Realms, fileserver.Realm{Name: name, KDCs: r.KDC, DefaultDomain: r.DefaultDomain})
	}
	return description
}

// Times of the membership.
const (
	joinPauseFirst = 3 * time.Second
	joinPauseLast  = time.Minute
	memberEvery    = time.Minute // how often a member asks whether it still is one
)

// winbindDir is where the C library looks for winbindd.
const winbindDir = "/run/samba"

// serveDomain joins the domain, and goes on trying; then it runs winbindd and the SMB server. A machine account that is gone is made anew.
func (m *manager) serveDomain(ctx context.Context) error {
	if err := os.MkdirAll(winbindDir, 0o755); err != nil {
		return err
	}
	if err := m.join(ctx); err != nil {
		return err
	}
	winbind := proc.New(proc.Spec{Name: "winbind", Path: "/usr/sbin/winbindd", Args: []string{"--foreground", "--no-process-group", "--debug-stdout", "--configfile=" + m.smb.config},
		Backoff: restartAfter, StopAfter: 10 * time.Second, Ready: pingWinbind})
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return proc.Keep(ctx, winbind) })
	group.Go(func() error {
		// Without it the SMB server refuses everybody. When it does not come it is better to be refused than not to be answered.
		early, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		if err := winbind.WaitReady(early); err != nil && ctx.Err() == nil {
			m.log.Warn("winbind is not ready", "cause", err.Error())
		}
		return proc.Keep(ctx, m.smb.Child)
	})
	group.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(m.memberEvery):
			}
			err := m.member().Check(ctx)
			if errors.Is(err, fileserver.ErrNotJoined) {
				m.joinedNow(err)
				if err = m.join(ctx); err == nil {
					_ = winbind.Signal(syscall.SIGTERM) // it has the old account's password
				}
			}
			if ctx.Err() == nil {
				m.joinedNow(err)
			}
		}
	})
	return group.Wait()
}

// pingWinbind answers nil when winbindd does.
func pingWinbind(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return exec.CommandContext(ctx, "wbinfo", "--ping").Run()
}

func (m *manager) member() fileserver.Member { return fileserver.Member{Config: m.smb.config} }

// join makes this machine a member of the domain, unless it is one, and tries until it is.
func (m *manager) join(ctx context.Context) error {
	for pause := joinPauseFirst; ; pause = min(2*pause, joinPauseLast) {
		err := m.member().Check(ctx)
		if errors.Is(err, fileserver.ErrNotJoined) {
			m.mu.Lock()
			user, password := m.settings.DomainUser, string(m.settings.DomainPassword)
			m.mu.Unlock()
			if err = m.member().Join(ctx, user, password); err == nil {
				m.log.Info("joined the domain")
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		m.joinedNow(err)
		if err == nil {
			return nil
		}
		m.log.Error("not in the domain; trying again", "cause", err.Error(), "in", pause.String())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// joinedNow notes how the membership is. While no controller answers, a member stays one.
func (m *manager) joinedNow(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.domain.joined
	switch {
	case err == nil:
		m.domain.joined, m.domain.reason = true, ""
	case errors.Is(err, fileserver.ErrJoinController):
		m.domain.reason = err.Error()
	default:
		m.domain.joined, m.domain.reason = false, err.Error()
	}
	if was != m.domain.joined || m.domain.since.IsZero() {
		m.domain.since = time.Now()
	}
}

// awaitsDomain tells whether the SMB server does not run yet because this machine is not in its domain.
func (m *manager) awaitsDomain() (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return "not in the domain: " + m.domain.reason, m.domain.realm != "" && !m.domain.joined
}
