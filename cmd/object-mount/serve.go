package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/pai-storage/pai-storage/internal/mount"
	"github.com/pai-storage/pai-storage/internal/plural"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"
	"github.com/rclone/rclone/fs/log"
	"github.com/rclone/rclone/vfs"
	"github.com/rclone/rclone/vfs/vfscommon"
)

// served is a mount that is served.
type served struct {
	request mount.ServeRequest
	root    string // CONTAINER[/PREFIX]
	vfs     *vfs.VFS
	queue   queue
	mounted *mounted
	control net.Listener
	log     *logger
	// hierarchical: the store has directories, not names alone.
	hierarchical bool
	lost         string // where what the store refuses for good is kept; "" until there is something
}

// start mounts what is asked for. What a process before left in the cache is uploaded.
func start(ctx context.Context, r mount.ServeRequest, l *logger) (*served, error) {
	opt, err := fileSystem(r.Volume)
	if err != nil {
		return nil, err
	}
	backend, set, err := settings(r.Volume, r.Secret)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(r.Cache, 0o700); err != nil {
		return nil, err
	}
	keep, err := keepFree(r.Cache)
	if err != nil {
		return nil, err
	}
	opt.CacheMinFreeSpace = keep / 2 * 3
	if err := prepare(ctx, r, l); err != nil {
		return nil, err
	}
	if err := reach(ctx, r.Volume, backend, set); err != nil {
		return nil, err
	}
	if r.Below != "" {
		r.Volume.Source = strings.TrimSuffix(r.Volume.Source, "/") + "/" + r.Below
		set["directory_markers"] = "false" // which would stay
	}
	f, err := open(ctx, r.Volume, backend, set)
	if err != nil {
		return nil, explain(r.Volume, err)
	}
	s := &served{request: r, root: strings.Trim(r.Volume.Source, "/"), hierarchical: set["hns"] == "true", log: l}
	if err := repair(ctx, r.Cache, s.root, f, l); err != nil {
		return nil, err
	}
	s.vfs = vfs.New(ctx, f, &opt)
	// The library goes on without a cache when it cannot have one, and would then lose what cannot be uploaded at once.
	if s.vfs.Opt.CacheMode != vfscommon.CacheModeWrites {
		return nil, fmt.Errorf("cache %s cannot be used; look at the log of this mount", r.Cache)
	}
	s.queue = queue{s.vfs}
	if s.control, err = listen(r.Cache, s.left); err != nil {
		return nil, err
	}
	if s.mounted, err = mountOn(s.vfs, r, keysOf(r.Volume, backend), keep); err != nil {
		_ = s.control.Close()
		return nil, err
	}
	return s, nil
}

// prepare sets what the library has for the whole process.
func prepare(ctx context.Context, r mount.ServeRequest, l *logger) error {
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(512 << 20)
	log.Handler.SetOutput(l.write)
	log.Handler.SetLevel(fs.SlogLevelNotice)
	c := fs.GetConfig(ctx)
	c.LogLevel = fs.LogLevelNotice
	c.BufferSize = 4 * fs.Mebi
	c.Transfers, c.Checkers = 4, 4
	c.ConnectTimeout, c.Timeout = fs.Duration(10*time.Second), fs.Duration(time.Minute)
	// A file of which a part was changed has the others fetched when it is closed. A short outage must not make that fail: the file would be in no queue, and
	// the next one who opens it would take what is in the cache away. Nobody waits for that long: see wait.
	c.LowLevelRetries = 10
	if r.Volume.Kind == mount.AzureBlob {
		c.LowLevelRetries = 1 // Azure's own client tries four times, within half a minute; more would only hide for minutes that the store is away
	}
	c.UseServerModTime = true // else each look at a file of S3 is a request of its own
	c.AskPassword = false
	if err := config.SetConfigPath(""); err != nil { // in memory
		return err
	}
	return config.SetCacheDir(r.Cache)
}

// left is what is not uploaded yet.
func (s *served) left() (mount.Pending, error) {
	p, err := leftIn(s.request.Cache, s.root)
	if p.Pending > 0 {
		p.Fault = s.log.lastFault()
	}
	return p, err
}

var errGaveUp = errors.New("told to end before everything was uploaded")

// run serves until the mount is gone and everything is uploaded.
func (s *served) run(ctx context.Context, signals <-chan os.Signal) error {
	defer s.control.Close()
	tick := time.NewTicker(retryTime)
	defer tick.Stop()
	for mounted := true; mounted; {
		select {
		case <-s.mounted.served:
			mounted = false
		case <-s.mounted.gone:
			mounted = false
		case <-tick.C:
			s.queue.hurry(ctx, s.log)
		case <-signals:
			if err := unmount(s.request.Target); err != nil {
				s.log.printf("unmount %s: %v", s.request.Target, err)
			}
			mounted = false
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.drain(ctx, signals)
}

// drain waits until everything is uploaded, trying again and again. What the store refuses for good is set aside when nobody can rename it any more: the
// kernel has let go of the file system, which a container with a copy of its own may keep it from for long, and nothing is open.
func (s *served) drain(ctx context.Context, signals <-chan os.Signal) error {
	look, retry := time.NewTicker(100*time.Millisecond), time.NewTicker(retryTime)
	defer look.Stop()
	defer retry.Stop()
	cut, last := s.mounted.served, false
	s.queue.start(ctx)
	for {
		select {
		case <-cut:
			s.mounted.handles.closeAll()
			cut = nil
		default:
		}
		if cut == nil && s.mounted.handles.count() == 0 {
			if !last {
				s.queue.last(ctx, s.log)
				last = true
			}
			s.giveUp(ctx)
		}
		if s.mounted.handles.count() == 0 && s.queue.length(ctx) == 0 {
			p, err := s.left()
			if err != nil {
				return err
			}
			if p.Pending == 0 {
				if s.request.Below != "" && s.hierarchical {
					_ = s.vfs.Fs().Rmdir(ctx, "") // there directories are more than names
				}
				return os.WriteFile(filepath.Join(filepath.Dir(s.request.Cache), mount.SettledFile), nil, 0o600)
			}
		}
		select {
		case <-signals:
			p, err := s.left()
			return errors.Join(fmt.Errorf("%w: %s (%s) kept in %s", errGaveUp, plural.Of(p.Pending, "file"), plural.Of(p.Bytes, "byte"), s.request.Cache), err)
		case <-ctx.Done():
			return ctx.Err()
		case <-retry.C:
			s.queue.hurry(ctx, s.log)
			if s.queue.length(ctx) == 0 {
				s.again()
			}
		case <-look.C:
		}
	}
}

// again opens and closes what should be uploaded and is in no queue: a file whose missing parts could not be fetched when it was closed.
func (s *served) again() {
	p, err := s.left()
	if err != nil {
		return
	}
	_, prefix, _ := strings.Cut(s.root, "/")
	for _, name := range p.Files {
		h, err := s.vfs.OpenFile(strings.TrimPrefix(name, prefix), os.O_RDWR, 0)
		if err == nil {
			err = h.Close()
		}
		if err != nil {
			s.log.printf("%s: %v", name, err)
		}
	}
}
