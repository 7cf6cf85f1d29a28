package localcluster

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// guest talks to the agent inside a virtual machine over the machine's serial port, so that one can
// look into a worker whose network or kubelet does not work.
type guest struct {
	socket string
	mu     sync.Mutex   // the agent serves one caller at a time
	heard  atomic.Int64 // when it last answered, in nanoseconds since 1970
}

// heardAt is when the agent last answered; zero time for never.
func (g *guest) heardAt() time.Time {
	if at := g.heard.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

// ExecResult is what a command in a worker did.
type ExecResult struct {
	ExitCode int    `json:"exitcode"`
	Stdout   []byte `json:"out-data"`
	Stderr   []byte `json:"err-data"`
	Exited   bool   `json:"exited"`
}

// Exec runs a program in the worker, as root, and waits for its end.
func (g *guest) Exec(ctx context.Context, argv []string, stdin []byte) (ExecResult, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	session, err := g.open(ctx)
	if err != nil {
		return ExecResult{}, err
	}
	defer session.conn.Close()
	var started struct{ PID int }
	command := map[string]any{"path": argv[0], "arg": argv[1:], "capture-output": true}
	if len(stdin) > 0 {
		command["input-data"] = stdin
	}
	if err := session.call("guest-exec", command, &started); err != nil {
		return ExecResult{}, err
	}
	for pause := firstPause; ; pause = min(pause*3/2, lastPause) { // each question costs an emulated machine some milliseconds
		var result ExecResult
		if err := session.call("guest-exec-status", map[string]any{"pid": started.PID}, &result); err != nil || result.Exited {
			return result, err
		}
		select {
		case <-ctx.Done():
			return ExecResult{}, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// The pauses between two questions whether a command has ended.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = time.Second
)

// answerLimit is how long the agent may take for one answer. A command may take as long as it likes: the agent is asked about it again and again,
// and tells its output at the end.
const answerLimit = 2 * time.Minute

type guestSession struct {
	guest  *guest
	conn   net.Conn
	reader *bufio.Reader
	end    time.Time // of everything; zero for none
}

// hurry gives the agent its time for the next answer.
func (s *guestSession) hurry() {
	limit := time.Now().Add(answerLimit)
	if !s.end.IsZero() && s.end.Before(limit) {
		limit = s.end
	}
	_ = s.conn.SetDeadline(limit)
}

// open connects and waits for the agent. What an earlier, broken session left in the line is skipped:
// the answer to our own number is the first one that counts.
func (g *guest) open(ctx context.Context) (*guestSession, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", g.socket)
	if err != nil {
		return nil, fmt.Errorf("guest agent: %w", err)
	}
	s := &guestSession{guest: g, conn: conn, reader: bufio.NewReader(conn)}
	s.end, _ = ctx.Deadline()
	s.hurry()
	number := time.Now().UnixNano() & 0xffffffff
	if err := s.send("guest-sync", map[string]any{"id": number}); err != nil {
		conn.Close()
		return nil, err
	}
	for {
		line, err := s.reader.ReadBytes('\n')
		if err != nil {
			conn.Close()
			return nil, fmt.Errorf("guest agent does not answer: %w", err)
		}
		var answer struct{ Return int64 }
		if json.Unmarshal(bytes.TrimLeft(line, "\xff"), &answer) == nil && answer.Return == number {
			g.heard.Store(time.Now().UnixNano())
			return s, nil
		}
	}
}

func (s *guestSession) send(command string, arguments any) error {
	text, err := json.Marshal(map[string]any{"execute": command, "arguments": arguments})
	if err != nil {
		return err
	}
	_, err = s.conn.Write(append(text, '\n'))
	return err
}

func (s *guestSession) call(command string, arguments, result any) error {
	s.hurry()
	if err := s.send(command, arguments); err != nil {
		return fmt.Errorf("guest agent: %w", err)
	}
	line, err := s.reader.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("guest agent: %w", err)
	}
	s.guest.heard.Store(time.Now().UnixNano())
	var answer struct {
		Return json.RawMessage
		Error  *struct{ Desc string }
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return fmt.Errorf("guest agent: %w", err)
	}
	if answer.Error != nil {
		return errors.New(answer.Error.Desc)
	}
	return json.Unmarshal(answer.Return, result)
}
