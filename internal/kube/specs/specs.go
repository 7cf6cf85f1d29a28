// Package specs builds the Kubernetes objects that stand for the nouns of PAI Storage.
//
// Its functions are pure: nouns in, objects out. Package kube creates what they return. Use it there and in tests; its rules:
//
//   - Names of users and jobs go into annotations exactly as they are. Names of objects and labels, which allow less, get a hash of
//     them, so that no two jobs meet in one object.
//   - A task is an ordinary, unprivileged pod: no service account token, no host network, no host paths, no added capabilities.
//   - Nothing a user wrote is expanded by Kubernetes: "$(NAME)" reaches the shell as it stands.
//
// Example:
//
//	record := specs.Record("default", submission)
//	job := specs.RoleJob(created, submission, submission.Spec.TaskRoles[0])
package specs

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pai "github.com/pai-storage/pai-storage"
)

// RecordType is the type of the Secrets that are the records of jobs.
const RecordType = "pai.storage/job"

// SourceField is the key of a record under which the submitted document is.
const SourceField = "job.yaml"

// submissionField is the key of a held record under which that is of which its Jobs are made.
const submissionField = "submission.json"

// The labels of a job's objects. Their values are hashes.
const (
	JobLabel  = "pai.storage/job"
	UserLabel = "pai.storage/user"
)

// The annotations of a job's objects. Their values are exact.
const (
	UserAnnotation           = "pai.storage/user"
	JobAnnotation            = "pai.storage/job"
	RoleAnnotation           = "pai.storage/task-role"
	RolesAnnotation          = "pai.storage/task-roles" // all of the job, as name=instances, separated by commas
	VirtualClusterAnnotation = "pai.storage/virtual-cluster"
	PriorityAnnotation       = "pai.storage/priority"
	RetriesAnnotation        = "pai.storage/retries"  // of the whole job, as often as it may be
	AttemptAnnotation        = "pai.storage/attempt"  // of the job, from 0; on its Jobs and pods
	DecidesAnnotation        = "pai.storage/decides"  // on a Job: when it succeeds, so does the whole job
	TolerantAnnotation       = "pai.storage/tolerant" // on a Job: failed tasks do not make it fail
	StoppedAnnotation        = "pai.storage/stopped"  // on Jobs: when somebody stopped the job, or another role decided its end
	TagsAnnotation           = "pai.storage/tags"     // on the first role's Job of attempt 0: a JSON list
	StoragesAnnotation       = "pai.storage/storages" // on the record: what the tasks mount, as JSON
	HeldAnnotation           = "pai.storage/held"     // on the record: the Jobs are made when the storages are bound
	AsideAnnotation          = "pai.storage/aside"    // on Jobs: a [SetAside]
)

// The values of [StoppedAnnotation].
const (
	StoppedByUser = "user"
	StoppedByEnd  = "decided" // the job is decided, and this role has nothing to do any more
)

// PersonalFolderImage is the default of [Options.TaskInit].
const PersonalFolderImage = "pai.local/task-init:1"

// CanMountLabel begins the labels by which workers' agents say what a worker can mount: "true" or "false".
const CanMountLabel = "pai.storage/can-mount-"

// Key is the hash that stands for a job in labels and names.
func Key(id pai.JobID) string { return digest(id.String(), 32) }

// RecordName is the name of a job's record.
func RecordName(id pai.JobID) string { return "job-" + Key(id) }

// RoleJobName is the name of the Indexed Job of a task role: readable at the front, unique at the end, and short enough that the
// names of its pods are host names.
func RoleJobName(id pai.JobID, role string, attempt int) string {
	const most = 28
	front := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(string(id.User)+"-"+string(id.Name)+"-"+role), "-"), "-")
	if len(front) > most {
		front = strings.Trim(front[:most], "-")
	}
	if front == "" {
		front = "job"
	}
	if attempt > 0 {
		role += "/" + strconv.Itoa(attempt)
	}
	return front + "-" + digest(id.String()+"/"+role, 20)
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

func digest(s string, length int) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])[:length]
}

func labels(id pai.JobID) map[string]string {
	return map[string]string{JobLabel: Key(id), UserLabel: digest(string(id.User), 32)}
}

func annotations(id pai.JobID) map[string]string {
	return map[string]string{UserAnnotation: string(id.User), JobAnnotation: string(id.Name)}
}

// HeldRecord is the [Record] of a job whose storages are not bound yet, so that nobody knows how they are to be mounted. The Jobs are made later,
// of what [Held] reads from it.
func HeldRecord(namespace string, s pai.Submission) *corev1.Secret {
	record := Record(namespace, s)
	s.Source, s.Spec.Document = nil, nil
	s.Spec.Registries = slices.Clone(s.Spec.Registries)
	for i := range s.Spec.Registries {
		s.Spec.Registries[i].Password = "" // is in a Secret of its own
	}
	record.Annotations[HeldAnnotation] = "true"
	record.Data[submissionField] = encode(s)
	return record
}

// Held reads what was submitted from a record that [HeldRecord] made.
func Held(record *corev1.Secret) (pai.Submission, error) {
	var s pai.Submission
	if err := json.Unmarshal(record.Data[submissionField], &s); err != nil {
		return s, fmt.Errorf("%s: %w", submissionField, err)
	}
	return s, nil
}

// Record is the Secret whose creation makes a job exist, and of which there can be only one for each user and job name.
func Record(namespace string, s pai.Submission) *corev1.Secret {
	immutable := true
	notes := annotations(s.ID())
	notes[VirtualClusterAnnotation] = s.VirtualCluster
	notes[RolesAnnotation] = rolesText(s.Spec.TaskRoles)
	if s.Spec.Priority != "" {
		notes[PriorityAnnotation] = s.Spec.Priority
	}
	if s.Spec.Retries > 0 {
		notes[RetriesAnnotation] = strconv.Itoa(s.Spec.Retries)
	}
	data := map[string][]byte{SourceField: s.Source}
	for _, role := range s.Spec.TaskRoles {
		if role.SecretCommands {
			data[commandsField(role.Name)] = []byte(script(role))
		}
	}
	if len(s.Mounts) > 0 {
		notes[StoragesAnnotation] = MountsText(s.Mounts)
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: RecordName(s.ID()),
			Labels: labels(s.ID()), Annotations: notes,
		},
		Type:      RecordType,
		Immutable: &immutable,
		Data:      data,
	}
}

// encode writes what consists of texts, numbers, truth values and lists of these, which always can be written.
func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

// KeptMount is what a record keeps of a mount.
type KeptMount struct {
	Storage  pai.StorageName `json:"storage"`
	Path     string          `json:"path"`
	Personal bool            `json:"personal,omitempty"`
	ReadOnly bool            `json:"readOnly,omitempty"`
}

// MountsText is [StoragesAnnotation].
func MountsText(mounts []pai.Mount) string {
	var out []KeptMount
	for _, m := range mounts {
		out = append(out, KeptMount{Storage: m.Storage, Path: m.Path, Personal: m.SubPath != "", ReadOnly: m.ReadOnly})
	}
	return string(encode(out))
}

// ParseMounts reads [StoragesAnnotation].
func ParseMounts(text string) ([]KeptMount, error) {
	if text == "" {
		return nil, nil
	}
	var out []KeptMount
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		return nil, fmt.Errorf("%s: %w", StoragesAnnotation, err)
	}
	return out, nil
}

// commandsField is the key of a record under which the commands of a role are that hold values of secrets.
func commandsField(role string) string { return "commands." + role }

// RegistrySecret is what the private images of a job are pulled with; nil when there are none.
func RegistrySecret(record *corev1.Secret, s pai.Submission) *corev1.Secret {
	if len(s.Spec.Registries) == 0 {
		return nil
	}
	type login struct {
		Username string `json:"username"`
		Password string `json:"password"`
		Auth     string `json:"auth"`
	}
	logins := map[string]login{}
	for _, r := range s.Spec.Registries {
		logins[r.Server] = login{r.Username, r.Password, base64.StdEncoding.EncodeToString([]byte(r.Username + ":" + r.Password))}
	}
	immutable := true
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: record.Namespace, Name: registrySecretName(s.ID()), Labels: labels(s.ID()), Annotations: annotations(s.ID()),
			OwnerReferences: []metav1.OwnerReference{ownedBy(record)},
		},
		Type:      corev1.SecretTypeDockerConfigJson,
		Immutable: &immutable,
		Data:      map[string][]byte{corev1.DockerConfigJsonKey: encode(map[string]any{"auths": logins})},
	}
}

func registrySecretName(id pai.JobID) string { return RecordName(id) + "-registry" }
