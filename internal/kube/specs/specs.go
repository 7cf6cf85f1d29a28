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
	"encoding/hex"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pai "github.com/pai-storage/pai-storage"
)

// RecordType is the type of the Secrets that are the records of jobs.
const RecordType = "pai.storage/job"

// SourceField is the key of a record under which the submitted document is.
const SourceField = "job.yaml"

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
)

// Key is the hash that stands for a job in labels and names.
func Key(id pai.JobID) string { return digest(id.String(), 32) }

// RecordName is the name of a job's record.
func RecordName(id pai.JobID) string { return "job-" + Key(id) }

// RoleJobName is the name of the Indexed Job of a task role: readable at the front, unique at the end, and short enough that the
// names of its pods are host names.
func RoleJobName(id pai.JobID, role string) string {
	const most = 28
	front := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(string(id.User)+"-"+string(id.Name)+"-"+role), "-"), "-")
	if len(front) > most {
		front = strings.Trim(front[:most], "-")
	}
	if front == "" {
		front = "job"
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

// Record is the Secret whose creation makes a job exist, and of which there can be only one for each user and job name.
func Record(namespace string, s pai.Submission) *corev1.Secret {
	immutable := true
	notes := annotations(s.ID())
	notes[VirtualClusterAnnotation] = s.VirtualCluster
	notes[RolesAnnotation] = rolesText(s.Spec.TaskRoles)
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: RecordName(s.ID()),
			Labels: labels(s.ID()), Annotations: notes,
		},
		Type:      RecordType,
		Immutable: &immutable,
		Data:      map[string][]byte{SourceField: s.Source},
	}
}
