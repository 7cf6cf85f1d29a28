package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// writeTimeout bounds one write, its retries and its way back into the caches.
const writeTimeout = 20 * time.Second

// Pauses of a writer whom others were quicker than, from the first to the longest; each is up to as long again.
const (
	conflictPause        = 5 * time.Millisecond
	longestConflictPause = 500 * time.Millisecond
)

// outlastConflicts writes until nobody was quicker, or ctx ends, so that a hundred writers of one object can pass one after the other.
func outlastConflicts(ctx context.Context, write func() error) error {
	for pause := conflictPause; ; pause = min(pause*7/5, longestConflictPause) {
		err := write()
		if !apierrors.IsConflict(err) {
			return err
		}
		select {
		case <-time.After(pause + rand.N(pause)):
		case <-ctx.Done():
			return err
		}
	}
}

// changeSecret reads a Secret, changes it and writes it back, and starts over when someone else wrote in between. Errors of change end it.
// A change that returns false leaves the Secret as it is.
func (c *Cluster) changeSecret(ctx context.Context, namespace, name string, change func(*corev1.Secret) (bool, error)) (*corev1.Secret, error) {
	var written *corev1.Secret
	secrets := c.client.CoreV1().Secrets(namespace)
	err := outlastConflicts(ctx, func() error {
		s, err := secrets.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if s.Data == nil {
			s.Data = map[string][]byte{}
		}
		worth, err := change(s)
		if err != nil || !worth {
			written = s
			return err
		}
		written, err = secrets.Update(ctx, s, metav1.UpdateOptions{})
		return err
	})
	return written, err
}

func (c *Cluster) createSecret(ctx context.Context, s *corev1.Secret) (*corev1.Secret, error) {
	return c.client.CoreV1().Secrets(s.Namespace).Create(ctx, s, metav1.CreateOptions{})
}

// decode reads one JSON value that the original wrote. Numbers stay as they are written, so that what we do not know survives.
func decode(data []byte, to any) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d.Decode(to)
}

// encode is the reverse of decode. It leaves <, > and & as they are.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
