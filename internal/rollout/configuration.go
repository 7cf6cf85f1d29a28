// Package rollout carries the configuration and the services of a cluster into it, over a kubeconfig.
//
// Use it for what an administrator does from outside; the services themselves do not need it. The configuration is kept where the original
// keeps it, in the ConfigMap pai-configuration of the namespace default, but passwords are in a Secret of the same name.
//
// Example:
//
//	cluster, err := rollout.Connect("")
//	snapshot, err := cluster.Pull(ctx)
package rollout

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/clusterconfig"
)

// Where the configuration is.
const (
	configurationNamespace = "default"
	configurationName      = "pai-configuration"
	clusterIDName          = "pai-cluster-id"
	clusterIDKey           = "cluster-id"

	// revisionAnnotation names one state of the configuration. It binds the ConfigMap to the Secret, whose keys begin with it.
	revisionAnnotation = "pai.storage/revision"
)

var (
	// ErrNoConfiguration is that the cluster has none yet.
	ErrNoConfiguration = errors.New("the cluster has no configuration yet: push one (paictl config push -p DIRECTORY)")
	// ErrThere is that the cluster has one, where the first was to be pushed.
	ErrThere = errors.New("the cluster has a configuration already")
	// ErrWrongCluster is that a push was meant for another cluster.
	ErrWrongCluster = errors.New("this is another cluster")
)

// Snapshot is the configuration at one time.
type Snapshot struct {
	// Revision changes with everything that is in it, whoever changed it and how.
	Revision string
	Files    map[string][]byte // with the passwords in them
	pushed   string            // the name of the state that paictl pushed last; passwords are kept by it
	version  string            // of the ConfigMap; "" = there is none
}

// ChangedError is that somebody else has changed the configuration since it was pulled.
type ChangedError struct{ Diff string }

func (e ChangedError) Error() string {
	return "the cluster's configuration was changed since you pulled it; pull it again and make your change there, or say --force to drop what others changed:\n" + e.Diff
}

// ClusterID is the cluster's name for itself; "" while it has none.
func (s *Services) ClusterID(ctx context.Context) (string, error) {
	m, err := s.client.CoreV1().ConfigMaps(configurationNamespace).Get(ctx, clusterIDName, metav1.GetOptions{})
	if absent(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return m.Data[clusterIDKey], nil
}

// Pull reads the configuration.
func (s *Services) Pull(ctx context.Context) (Snapshot, error) {
	core := s.client.CoreV1()
	// A push between the two reads takes away the passwords of the revision that was read first: then once more.
	for range 5 {
		m, err := core.ConfigMaps(configurationNamespace).Get(ctx, configurationName, metav1.GetOptions{})
		if absent(err) {
			return Snapshot{}, ErrNoConfiguration
		}
		if err != nil {
			return Snapshot{}, err
		}
		snapshot := Snapshot{pushed: m.Annotations[revisionAnnotation], Files: map[string][]byte{}, version: m.ResourceVersion}
		snapshot.Revision = revisionOf(snapshot.pushed, m.Data)
		secret, err := core.Secrets(configurationNamespace).Get(ctx, configurationName, metav1.GetOptions{})
		if err != nil && !absent(err) {
			return Snapshot{}, err
		}
		whole := true
		for name, public := range m.Data {
			secrets := secretsOf(secret, snapshot.pushed, name)
			text := clusterconfig.Join([]byte(public), secrets)
			whole = whole && clusterconfig.Placeholders([]byte(public)) <= len(secrets)
			snapshot.Files[name] = text
		}
		if whole {
			return snapshot, nil
		}
	}
	return Snapshot{}, fmt.Errorf("the Secret %s/%s lacks passwords of the configuration: restore it, or push all files of the configuration with -m all --force", configurationNamespace, configurationName)
}

// revisionOf is the revision of files without their passwords, of which a push says whether they are others. What somebody changes without paictl has
// the mark of the last push, and other files. An original's has no mark.
func revisionOf(pushed string, data map[string]string) string {
	return strings.TrimPrefix(pushed+"."+fingerprint(data), ".")
}

func fingerprint(data map[string]string) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(data)) {
		fmt.Fprintf(h, "%q=%q", name, data[name])
	}
	return hex.EncodeToString(h.Sum(nil))[:26]
}

// secretKey is where a password of a file is in the Secret.
func secretKey(revision, file string, n int) string {
	return fmt.Sprintf("%s.%s.%d", revision, file, n)
}

func secretsOf(secret *corev1.Secret, revision, file string) []string {
	var list []string
	for n := 0; secret != nil; n++ {
		value, ok := secret.Data[secretKey(revision, file, n)]
		if !ok {
			break
		}
		list = append(list, string(value))
	}
	return list
}

// Push replaces the configuration with files, which are checked first. Base is the revision that they were made from, as [Services.Pull] gave it;
// "" where there was none. With force, what others changed since is dropped. It returns the new revision.
func (s *Services) Push(ctx context.Context, files map[string][]byte, base string, force bool) (string, error) {
	cfg, err := clusterconfig.Parse(files)
	if err != nil {
		return "", err
	}
	if _, faults, err := s.match(ctx, cfg); err != nil {
		return "", err
	} else if err := faults.Err(); err != nil {
		return "", err
	}
	return s.push(ctx, files, base, force)
}

// push is Push for files that are checked.
func (s *Services) push(ctx context.Context, files map[string][]byte, base string, force bool) (string, error) {
	now, err := s.Pull(ctx)
	unreadable := err != nil && !errors.Is(err, ErrNoConfiguration)
	if unreadable && !force {
		return "", err
	}
	if now.Revision != base && !force {
		if maps.EqualFunc(now.Files, files, bytes.Equal) {
			return now.Revision, nil // somebody has pushed just this
		}
		return "", ChangedError{Diff("cluster", now.Files, "yours", files)}
	}
	mark := strings.ToLower(rand.Text())
	public, secrets := map[string]string{}, map[string][]byte{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		text, list, err := clusterconfig.Split(name, files[name])
		if err != nil {
			return "", err
		}
		public[name] = string(text)
		for n, password := range list {
			secrets[secretKey(mark, name, n)] = []byte(password)
		}
	}
	deeds := pushed(now.Files, revisionOf(mark, public), files)
	if unreadable {
		deeds = s.pushedOver(ctx, revisionOf(mark, public), files)
	}
	if err := s.write(ctx, now, mark, public, secrets, force); err != nil {
		return "", err
	}
	s.record(ctx, deeds...)
	return revisionOf(mark, public), nil
}

// write puts the passwords there first, beside those in use; then the files, which says that the new ones count; then takes the old ones away.
// Who reads meanwhile finds either all of the old or all of the new. Old passwords that cannot be taken away are no reason to say that nothing was
// pushed: [Services.Warn] is told.
func (s *Services) write(ctx context.Context, now Snapshot, mark string, public map[string]string, secrets map[string][]byte, force bool) error {
	core := s.client.CoreV1()
	if err := s.changeSecret(ctx, func(data map[string][]byte) { maps.Copy(data, secrets) }); err != nil {
		return err
	}
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: configurationName, Namespace: configurationNamespace, ResourceVersion: now.version,
		Annotations: map[string]string{revisionAnnotation: mark}}, Data: public}
	var err error
	if now.version == "" {
		if _, err = core.ConfigMaps(configurationNamespace).Create(ctx, m, metav1.CreateOptions{FieldManager: fieldManager}); force && apierrors.IsAlreadyExists(err) {
			_, err = core.ConfigMaps(configurationNamespace).Update(ctx, m, metav1.UpdateOptions{FieldManager: fieldManager})
		}
	} else {
		_, err = core.ConfigMaps(configurationNamespace).Update(ctx, m, metav1.UpdateOptions{FieldManager: fieldManager})
	}
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		err = errors.New("somebody else has pushed at the same time: pull again and see what it was")
	}
	if err != nil && apierrors.ReasonForError(err) == metav1.StatusReasonUnknown || apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err) {
		// Whether it was written is not known: the passwords of both stay, unless it can be seen.
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordLimit)
		defer cancel()
		there, unseen := core.ConfigMaps(configurationNamespace).Get(late, configurationName, metav1.GetOptions{})
		switch {
		case unseen != nil && !absent(unseen):
			return fmt.Errorf("whether it was pushed is not known: look with paictl config diff: %w", err)
		case unseen == nil && there.Annotations[revisionAnnotation] == mark:
			err = nil
		}
	}
	left := s.changeSecret(ctx, func(data map[string][]byte) {
		for key := range data {
			// What was pushed is of this mark alone; of what was not, nothing of this mark stays.
			if owner, _, _ := strings.Cut(key, "."); (owner == mark) != (err == nil) {
				delete(data, key)
			}
		}
	})
	if left != nil {
		s.Warn(fmt.Sprintf("the Secret %s/%s keeps passwords that are not in use, until the next push: %v", configurationNamespace, configurationName, left))
	}
	return err
}

// changeSecret changes the Secret, again when somebody else did so meanwhile.
func (s *Services) changeSecret(ctx context.Context, change func(map[string][]byte)) error {
	secrets := s.client.CoreV1().Secrets(configurationNamespace)
	for range 10 {
		secret, err := secrets.Get(ctx, configurationName, metav1.GetOptions{})
		fresh := absent(err)
		if fresh {
			secret = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: configurationName, Namespace: configurationNamespace}, Type: corev1.SecretTypeOpaque}
		} else if err != nil {
			return err
		}
		if secret.Data == nil {
			secret.Data = map[string][]byte{}
		}
		change(secret.Data)
		if fresh {
			_, err = secrets.Create(ctx, secret, metav1.CreateOptions{FieldManager: fieldManager})
		} else {
			_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{FieldManager: fieldManager})
		}
		if err == nil || !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return errors.New("the Secret " + configurationName + " is changed by others all the time")
}

// SetClusterID gives the cluster its name for itself, unless it has one. ErrWrongCluster when that is another.
func (s *Services) SetClusterID(ctx context.Context, id string) error {
	now, err := s.ClusterID(ctx)
	switch {
	case err != nil:
		return err
	case now == id:
		return nil
	case now != "":
		return fmt.Errorf("%w: its id is %s, not %s", ErrWrongCluster, now, id)
	}
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: clusterIDName, Namespace: configurationNamespace}, Data: map[string]string{clusterIDKey: id}}
	if _, err = s.client.CoreV1().ConfigMaps(configurationNamespace).Create(ctx, m, metav1.CreateOptions{FieldManager: fieldManager}); err != nil {
		return err
	}
	s.record(ctx, deed{action: pai.AuditCreate, kind: kindConfiguration, name: clusterIDKey, after: map[string]any{"id": id}})
	return nil
}

// PushFirst pushes a configuration to a cluster that has none, and gives the cluster its id; ErrThere when it has one. ErrWrongCluster, before
// anything is changed, when the cluster has another id.
func (s *Services) PushFirst(ctx context.Context, id string, files map[string][]byte) error {
	has, err := s.ClusterID(ctx)
	if err != nil {
		return err
	}
	now, err := s.Pull(ctx)
	switch {
	case err == nil && has == "" && maps.EqualFunc(now.Files, files, bytes.Equal): // a first push that was cut off
	case err == nil:
		return ErrThere
	case !errors.Is(err, ErrNoConfiguration):
		return err
	case has != "" && has != id:
		return fmt.Errorf("%w: its id is %s, not %s", ErrWrongCluster, has, id)
	default:
		if _, err := s.Push(ctx, files, "", false); err != nil {
			return err
		}
	}
	return s.SetClusterID(ctx, id)
}

// configuration reads and checks the cluster's configuration.
func (s *Services) configuration(ctx context.Context) (clusterconfig.Configuration, error) {
	snapshot, err := s.Pull(ctx)
	if err != nil {
		return clusterconfig.Configuration{}, err
	}
	return clusterconfig.Parse(snapshot.Files)
}

// Diff shows how files differ, without passwords: of those it says only that they do. "" when they do not.
func Diff(oldName string, old map[string][]byte, newName string, changed map[string][]byte) string {
	var b bytes.Buffer
	for _, name := range unionNames(old, changed) {
		if bytes.Equal(old[name], changed[name]) {
			continue
		}
		before, after := clusterconfig.Mask(name, old[name], changed[name])
		b.Write(diff.Diff(oldName+"/"+name, before, newName+"/"+name, after))
	}
	return b.String()
}
