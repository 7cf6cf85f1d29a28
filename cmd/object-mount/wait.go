package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// The library works on when whoever asked it was killed, for as long as the store takes. So each operation is a goroutine of its own, and works
// on copies: whoever waits for it can leave.
const (
	// signalTime is how long an operation that changes nothing goes on after its process got a signal that does not kill it. Programs get signals all the
	// time and few expect that reading a file is interrupted.
	signalTime = 5 * time.Second
	// flushTime is how long a close waits for operations of the same file. A process that was killed closes its files, and nothing interrupts
	// that; nothing is lost by going on, because uploads come after the release.
	flushTime = 2 * time.Second
)

// mostAbandoned is how many operations that nobody waits for may go on before no more are begun at a store that is dead. Each holds up to 1 MiB, for as long
// as the library tries.
const mostAbandoned = 64

// wait does an operation that changes nothing, until it ends, its process has left or the store is dead; then undo takes back what it still gives.
func (h *handles) wait(cancel <-chan struct{}, process uint32, operation func() fuse.Status, undo func()) fuse.Status {
	return h.attend(cancel, process, signalTime, operation, undo)
}

// change does an operation that changes something. It would go on, and most likely be done: so only whoever is killed leaves it, or when the store is dead.
func (h *handles) change(cancel <-chan struct{}, process uint32, operation func() fuse.Status, undo func()) fuse.Status {
	return h.attend(cancel, process, 0, operation, undo)
}

// attend is wait with the time that an operation goes on after a signal that does not kill; 0 is for ever.
func (h *handles) attend(cancel <-chan struct{}, process uint32, after time.Duration, operation func() fuse.Status, undo func()) fuse.Status {
	var decided atomic.Bool
	done := make(chan fuse.Status, 1)
	go func() {
		began, status := true, fuse.EIO
		if h.abandoned.Load() >= mostAbandoned {
			began = h.pulse.alive()
		}
		if began {
			status = operation()
		}
		if decided.CompareAndSwap(false, true) {
			done <- status
			return
		}
		defer h.abandoned.Add(-1)
		if status.Ok() && undo != nil {
			defer func() { _ = recover() }() // the kernel may have forgotten the file meanwhile, which the library does not bear
			undo()
		}
	}()
	leave := func(why fuse.Status) fuse.Status {
		h.abandoned.Add(1) // before whoever does it can take it back
		if decided.CompareAndSwap(false, true) {
			return why
		}
		h.abandoned.Add(-1)
		return <-done
	}
	long := time.NewTimer(h.pulse.patience())
	defer long.Stop()
	dead := make(chan struct{})
	var interrupted time.Time
	var look <-chan time.Time
	for {
		select {
		case status := <-done:
			return status
		case <-cancel:
			cancel, interrupted = nil, time.Now()
			ticker := time.NewTicker(50 * time.Millisecond)
			defer ticker.Stop()
			look = ticker.C
		case <-look:
			if killed(process) || after > 0 && time.Since(interrupted) > after {
				return leave(fuse.EINTR)
			}
		case <-long.C:
			go func() { // a signal is heard meanwhile
				if !h.pulse.alive() {
					close(dead)
					return
				}
				long.Reset(longTime)
			}()
		case <-dead:
			return leave(fuse.EIO)
		}
	}
}

// killed tells whether a thread is about to die.
func killed(thread uint32) bool {
	if thread == 0 {
		return false // it is not in our namespace of processes
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	if err != nil {
		return true
	}
	for line := range strings.Lines(string(text)) {
		if mask, ok := strings.CutPrefix(line, "SigPnd:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return err == nil && n&(1<<(9-1)) != 0 // whatever kills is SIGKILL to each thread
		}
	}
	return false
}

// buffers are those of reads and writes.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// Lookup implements [fuse.RawFileSystem].
func (h *handles) Lookup(cancel <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	header, own, name := *in, *out, strings.Clone(name)
	return h.entry(h.wait, cancel, in, name, out, &own, func() fuse.Status { return h.RawFileSystem.Lookup(cancel, &header, name, &own) })
}

// attending is [handles.wait] or [handles.change].
type attending func(cancel <-chan struct{}, process uint32, operation func() fuse.Status, undo func()) fuse.Status

// entry does an operation that gives the kernel a node.
func (h *handles) entry(attend attending, cancel <-chan struct{}, in *fuse.InHeader, name string, out, own *fuse.EntryOut, operation func() fuse.Status) fuse.Status {
	parent := in.NodeId
	status := attend(cancel, in.Pid, func() fuse.Status {
		status := operation()
		if status.Ok() {
			h.tree.add(parent, name, own)
		}
		return status
	}, func() { h.Forget(own.NodeId, 1) })
	if status.Ok() {
		*out = *own
	}
	return status
}

// Forget implements [fuse.RawFileSystem].
func (h *handles) Forget(node, lookups uint64) {
	if node != 0 {
		h.tree.forget(node, lookups)
		h.RawFileSystem.Forget(node, lookups)
	}
}

// Mkdir implements [fuse.RawFileSystem].
func (h *handles) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	if h.tooLong(in.NodeId, name+"/") {
		return nameTooLong
	}
	input, own, name := *in, *out, strings.Clone(name)
	return h.entry(h.change, cancel, &in.InHeader, name, out, &own, func() fuse.Status { return h.RawFileSystem.Mkdir(cancel, &input, name, &own) })
}

// Mknod implements [fuse.RawFileSystem].
func (h *handles) Mknod(cancel <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	if h.tooLong(in.NodeId, name) {
		return nameTooLong
	}
	input, own, name := *in, *out, strings.Clone(name)
	return h.entry(h.change, cancel, &in.InHeader, name, out, &own, func() fuse.Status { return h.RawFileSystem.Mknod(cancel, &input, name, &own) })
}

// Open implements [fuse.RawFileSystem].
func (h *handles) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	input, own := *in, *out
	status := h.wait(cancel, in.Pid, func() fuse.Status { return h.RawFileSystem.Open(cancel, &input, &own) },
		func() { h.RawFileSystem.Release(nil, &fuse.ReleaseIn{InHeader: input.InHeader, Fh: own.Fh}) })
	if status.Ok() {
		*out = own
	}
	h.note(status, out.Fh, in.NodeId)
	return status
}

// Create implements [fuse.RawFileSystem].
func (h *handles) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	if h.tooLong(in.NodeId, name) {
		return nameTooLong
	}
	input, own, name := *in, *out, strings.Clone(name)
	status := h.change(cancel, in.Pid, func() fuse.Status { return h.RawFileSystem.Create(cancel, &input, name, &own) }, func() {
		h.RawFileSystem.Release(nil, &fuse.ReleaseIn{InHeader: fuse.InHeader{NodeId: own.NodeId}, Fh: own.Fh})
		h.Forget(own.NodeId, 1)
	})
	if status.Ok() {
		*out = own
	}
	h.note(status, out.Fh, out.NodeId)
	return status
}

// Read implements [fuse.RawFileSystem].
func (h *handles) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	input := *in
	b := buffers.Get().(*bytes.Buffer)
	b.Reset()
	b.Grow(len(buf))
	own := b.AvailableBuffer()[:len(buf)]
	var result fuse.ReadResult
	status := h.wait(cancel, in.Pid, func() (status fuse.Status) {
		result, status = h.RawFileSystem.Read(cancel, &input, own)
		return status
	}, nil)
	if !status.Ok() {
		return nil, status // the buffer is left to the one who may still read
	}
	defer buffers.Put(b)
	defer result.Done()
	text, status := result.Bytes(own)
	return fuse.ReadResultData(buf[:copy(buf, text)]), status
}

// Write implements [fuse.RawFileSystem].
func (h *handles) Write(cancel <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	signal, interrupted := cancel, false
	for {
		ok, none := h.space.take(len(data))
		if none {
			return 0, fuse.Status(syscall.ENOSPC)
		}
		if ok {
			break
		}
		select {
		case <-signal:
			signal, interrupted = nil, true // the kernel tells of the first one alone
		case <-time.After(spaceTime):
		}
		if interrupted && killed(in.Pid) {
			return 0, fuse.EINTR
		}
	}
	input := *in
	b := buffers.Get().(*bytes.Buffer)
	b.Reset()
	_, _ = b.Write(data)
	var written uint32
	status := h.change(cancel, in.Pid, func() (status fuse.Status) {
		written, status = h.RawFileSystem.Write(cancel, &input, b.Bytes())
		return status
	}, nil)
	if !status.Ok() {
		return 0, status
	}
	buffers.Put(b)
	return written, status
}

// Flush implements [fuse.RawFileSystem].
func (h *handles) Flush(cancel <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	input := *in
	done := make(chan fuse.Status, 1)
	go func() { done <- h.RawFileSystem.Flush(cancel, &input) }()
	limit := time.NewTimer(flushTime)
	defer limit.Stop()
	select {
	case status := <-done:
		return status
	case <-limit.C:
		return fuse.OK
	}
}

// Fsync implements [fuse.RawFileSystem].
func (h *handles) Fsync(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	input := *in
	return h.change(cancel, in.Pid, func() fuse.Status { return h.RawFileSystem.Fsync(cancel, &input) }, nil)
}

// Access implements [fuse.RawFileSystem].
func (h *handles) Access(cancel <-chan struct{}, in *fuse.AccessIn) fuse.Status {
	input := *in
	return h.wait(cancel, in.Pid, func() fuse.Status { return h.RawFileSystem.Access(cancel, &input) }, nil)
}

// GetAttr implements [fuse.RawFileSystem].
func (h *handles) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	input, own := *in, *out
	status := h.wait(cancel, in.Pid, func() fuse.Status { return h.RawFileSystem.GetAttr(cancel, &input, &own) }, nil)
	if status.Ok() {
		*out = own
	}
	return status
}

// SetAttr implements [fuse.RawFileSystem].
func (h *handles) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	input, own := *in, *out
	status := h.change(cancel, in.Pid, func() fuse.Status { return h.RawFileSystem.SetAttr(cancel, &input, &own) }, nil)
	if status.Ok() {
		*out = own
	}
	return status
}

// Unlink implements [fuse.RawFileSystem].
func (h *handles) Unlink(cancel <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	header, name := *in, strings.Clone(name)
	return h.change(cancel, in.Pid, func() fuse.Status { return h.RawFileSystem.Unlink(cancel, &header, name) }, nil)
}

// Rmdir implements [fuse.RawFileSystem].
func (h *handles) Rmdir(cancel <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	header, name := *in, strings.Clone(name)
	return h.change(cancel, in.Pid, func() fuse.Status { return h.RawFileSystem.Rmdir(cancel, &header, name) }, nil)
}

// OpenDir implements [fuse.RawFileSystem].
func (h *handles) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	input, own := *in, *out
	status := h.wait(cancel, in.Pid, func() fuse.Status { return h.RawFileSystem.OpenDir(cancel, &input, &own) },
		func() { h.RawFileSystem.ReleaseDir(&fuse.ReleaseIn{InHeader: input.InHeader, Fh: own.Fh}) })
	if status.Ok() {
		*out = own
	}
	return status
}

// ReadDir implements [fuse.RawFileSystem].
func (h *handles) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	input := *in
	own := fuse.NewDirEntryList(make([]byte, in.Size), in.Offset)
	status := h.wait(cancel, in.Pid, func() fuse.Status { return h.RawFileSystem.ReadDir(cancel, &input, own) }, nil)
	if status.Ok() {
		*out = *own
	}
	return status
}
