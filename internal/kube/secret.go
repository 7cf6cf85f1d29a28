package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
)

// writeTimeout bounds one write, its retries and its way back into the caches.
const writeTimeout = 20 * time.Second

// conflictBackoff gives a hundred writers of one Secret the time to pass one after the other.
func conflictBackoff() wait.Backoff {
	return wait.Backoff{Duration: 5 * time.Millisecond, Factor: 1.4, Jitter: 1, Steps: 40, Cap: 500 * time.Millisecond}
}

// changeSecret reads a Secret, changes it and writes it back, and starts over when someone else wrote in between. Errors of change end it.
// A change that returns false leaves the Secret as it is.
func (c *Cluster) changeSecret(ctx context.Context, namespace, name string, change func(*corev1.Secret) (bool, error)) (*corev1.Secret, error) {
	var written *corev1.Secret
	secrets := c.client.CoreV1().Secrets(namespace)
	err := retry.OnError(conflictBackoff(), func(err error) bool { return apierrors.IsConflict(err) && ctx.Err() == nil }, func() error {
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
