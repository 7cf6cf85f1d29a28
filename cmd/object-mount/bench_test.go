package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/object"

	"github.com/pai-storage/pai-storage/internal/mount"
)

// Sizes of what is measured.
const (
	benchBig   = 64 << 20
	benchSmall = 4 << 10
	benchMany  = 100
	benchReads = 100
)

// TestSpeed prints what a mount costs beside the same client library without one, in one run against the same server. It asserts nothing
// of times. Writing through a mount is measured until everything is uploaded.
func TestSpeed(t *testing.T) {
	if os.Getenv("PAI_BENCH") == "" {
		t.Skip("a measurement: PAI_BENCH=1 (make bench)")
	}
	program := build(t, "object-mount", ".")
	for name, open := range map[string]func(*testing.T) *store{"azurite": azurite, "s3": s3Store} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() { s.stop() })
			dir, err := os.MkdirTemp("", "om-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			l := &lab{store: s, dir: dir, engine: &mount.Engine{Dir: filepath.Join(dir, "state"), ObjectMount: program}}
			t.Cleanup(l.end)
			l.measure(t)
		})
	}
}

func took(t *testing.T, what func() error) time.Duration {
	t.Helper()
	start := time.Now()
	if err := what(); err != nil {
		t.Fatal(err)
	}
	return time.Since(start)
}

func (l *lab) measure(t *testing.T) {
	backend, set, err := settings(l.volume, l.secret)
	if err != nil {
		t.Fatal(err)
	}
	remote, err := open(t.Context(), l.volume, backend, set)
	if err != nil {
		t.Fatal(err)
	}
	big, small := random(t, benchBig), random(t, benchSmall)
	out := tabwriter.NewWriter(t.Output(), 0, 8, 2, ' ', 0)
	fmt.Fprintf(out, "%s\tmount\tlibrary\tmount/library\n", l.volume.Kind)
	row := func(name string, mounted, direct time.Duration) {
		fmt.Fprintf(out, "%s\t%s\t%s\t%.2f\n", name, mounted.Round(time.Millisecond), direct.Round(time.Millisecond), mounted.Seconds()/direct.Seconds())
	}
	put := func(name string, text []byte) error {
		_, err := remote.Put(t.Context(), bytes.NewReader(text), object.NewStaticObjectInfo(name, time.Now(), int64(len(text)), true, nil, remote))
		return err
	}
	get := func(name string, options ...fs.OpenOption) error {
		o, err := remote.NewObject(t.Context(), name)
		if err != nil {
			return err
		}
		r, err := o.Open(t.Context(), options...)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(io.Discard, r)
		return err
	}
	many := func(one func(name string) error) func() error {
		return func() error {
			for i := range benchMany {
				if err := one(fmt.Sprintf("small-%d", i)); err != nil {
					return err
				}
			}
			return nil
		}
	}

	target := l.mount("write", l.volume)
	mounted := took(t, func() error {
		err := os.WriteFile(filepath.Join(target, "big-m"), big, 0o644)
		l.unmount(target)
		return err
	})
	row("write 64 MiB, and unmount", mounted, took(t, func() error { return put("big-d", big) }))

	target = l.mount("write", l.volume)
	mounted = took(t, func() error {
		err := many(func(name string) error { return os.WriteFile(filepath.Join(target, "m-"+name), small, 0o644) })()
		l.unmount(target)
		return err
	})
	row("write 100 files of 4 KiB, and unmount", mounted, took(t, many(func(name string) error { return put("d-"+name, small) })))

	target = l.mount("read", l.volume)
	read := func(name string) error {
		f, err := os.Open(filepath.Join(target, name))
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.CopyBuffer(io.Discard, struct{ io.Reader }{f}, make([]byte, 1<<20))
		return err
	}
	row("read 64 MiB", took(t, func() error { return read("big-d") }), took(t, func() error { return get("big-d") }))
	row("read 100 files of 4 KiB", took(t, many(func(name string) error { return read("d-" + name) })), took(t, many(func(name string) error { return get("d-" + name) })))
	random := rand.New(rand.NewPCG(1, 2))
	var places []int64
	for range benchReads {
		places = append(places, random.Int64N(benchBig-4096))
	}
	mounted = took(t, func() error {
		f, err := os.Open(filepath.Join(target, "big-m"))
		if err != nil {
			return err
		}
		defer f.Close()
		for _, at := range places {
			if _, err := f.ReadAt(make([]byte, 4096), at); err != nil {
				return err
			}
		}
		return nil
	})
	row("100 reads of 4 KiB here and there", mounted, took(t, func() error {
		for _, at := range places {
			if err := get("big-m", &fs.RangeOption{Start: at, End: at + 4095}); err != nil {
				return err
			}
		}
		return nil
	}))
	l.unmount(target)
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
}
