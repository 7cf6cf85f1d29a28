package kube

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// TestOutlastConflicts: a writer tries as often as it takes, within its time; other errors end it.
func TestOutlastConflicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conflict := apierrors.NewConflict(schema.GroupResource{Resource: "secrets"}, "x", errors.New("somebody was quicker"))
		ctx, cancel := context.WithTimeout(t.Context(), writeTimeout)
		defer cancel()
		tries := 0
		err := outlastConflicts(ctx, func() error {
			if tries++; tries < 25 {
				return conflict
			}
			return nil
		})
		if err != nil || tries != 25 {
			t.Errorf("%v after %d tries", err, tries)
		}
		if err := outlastConflicts(ctx, func() error { return conflict }); !apierrors.IsConflict(err) || ctx.Err() == nil {
			t.Errorf("it gave up with %v, and its time is over: %v", err, ctx.Err())
		}
		other := errors.New("no")
		if err := outlastConflicts(t.Context(), func() error { return other }); !errors.Is(err, other) {
			t.Errorf("got %v", err)
		}
	})
}
