package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/pai-storage/pai-storage/internal/mount"
)

// program is what a process has to do with.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	answer         io.WriteCloser // where "ready" is said; nil for nowhere
	signals        <-chan os.Signal
}

func (p program) main(ctx context.Context, args []string) int {
	var err error
	switch {
	case len(args) == 1 && args[0] == "serve":
		err = p.serve(ctx)
	case len(args) == 1 && args[0] == "pending":
		err = p.pending()
	default:
		err = errors.New("usage: object-mount serve | pending, with a request as JSON on standard input")
	}
	if err != nil {
		fmt.Fprintln(p.stderr, "object-mount:", err)
		return 1
	}
	return 0
}

func (p program) request() (mount.ServeRequest, error) {
	var r mount.ServeRequest
	line, err := bufio.NewReader(p.stdin).ReadBytes('\n')
	if err != nil && !(errors.Is(err, io.EOF) && len(line) > 0) {
		return r, errors.New("no request on standard input: send one line of JSON")
	}
	// The decoder's messages quote what they do not understand, which could be a secret.
	if json.Unmarshal(line, &r) != nil {
		return r, errors.New("the request on standard input is no JSON of the form that package mount has")
	}
	if r.Cache == "" {
		return r, errors.New("the request names no cache directory")
	}
	return r, nil
}

func (p program) pending() error {
	r, err := p.request()
	if err != nil {
		return err
	}
	left, err := leftIn(r.Cache, "")
	if err != nil {
		return err
	}
	if left.Pending > 0 {
		fault, _ := os.ReadFile(filepath.Join(filepath.Dir(filepath.Clean(r.Cache)), faultFile)) // when there is one
		left.Fault = string(fault)
	}
	return json.NewEncoder(p.stdout).Encode(left)
}

// say answers whoever started us, once.
func (p program) say(a mount.ServeAnswer) {
	if p.answer == nil {
		return
	}
	_ = json.NewEncoder(p.answer).Encode(a)
	_ = p.answer.Close()
}

func (p program) serve(ctx context.Context) error {
	r, err := p.request()
	if err != nil {
		p.say(mount.ServeAnswer{Error: err.Error()})
		return err
	}
	hide := newHider(r.Secret)
	log := &logger{out: p.stderr, hide: hide}
	if f, ok := p.stderr.(*os.File); ok {
		if r := rotate(f, r.Cache); r != nil {
			log.out = r
		}
	}
	s, err := start(ctx, r, log)
	if err != nil {
		text := hide.from(err.Error())
		p.say(mount.ServeAnswer{Error: text})
		return errors.New(text)
	}
	p.say(mount.ServeAnswer{Ready: true})
	if err := s.run(ctx, p.signals); err != nil {
		return errors.New(hide.from(err.Error()))
	}
	return nil
}
