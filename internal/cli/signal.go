package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// signalError is the signal that ended a run.
type signalError syscall.Signal

func (e signalError) Error() string {
	if syscall.Signal(e) == syscall.SIGINT {
		return "interrupted"
	}
	return "ended by signal: " + syscall.Signal(e).String()
}

// untilSignal is a context that SIGINT and SIGTERM end, with a [signalError] as its cause. A second one ends the process.
func untilSignal(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		select {
		case got := <-signals:
			signal.Stop(signals)
			cancel(signalError(got.(syscall.Signal)))
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}

// bySignal names the signal in an error that only says that something was cancelled.
func bySignal(ctx context.Context, err error) error {
	var ended signalError
	if !errors.As(context.Cause(ctx), &ended) || !errors.Is(err, context.Canceled) || errors.As(err, new(signalError)) {
		return err
	}
	text, _ := strings.CutSuffix(err.Error(), context.Canceled.Error())
	return fmt.Errorf("%s%w", text, ended)
}
