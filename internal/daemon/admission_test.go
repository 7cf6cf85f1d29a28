package daemon

import (
	"bytes"
	"context"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	k8srest "k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/pai-storage/pai-storage/deploy"
	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/kubetest"
)

// Who asks the API server in the test of the policy.
const (
	theServer     = "system:serviceaccount:pai-system:rest-server"
	jobController = "system:serviceaccount:kube-system:job-controller"
	cronJobs      = "system:serviceaccount:kube-system:cronjob-controller"
	mallory       = "mallory"
)

// TestAdmissionPolicy: what gets into the jobs namespace with the policy, and what does not, the forbidden first.
func TestAdmissionPolicy(t *testing.T) {
	config := kubetest.Start(t)
	admin := kubernetes.NewForConfigOrDie(config)
	allowEverything(t, admin)
	policyIsOn(t, admin, mallory, config)

	claim := corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "home"}}
	nfs := corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{Server: "10.0.0.1", Path: "/users"}}
	host := corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/var/lib/kubelet/pods"}}
	inline := corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "nfs.csi.k8s.io"}}
	scratch := corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
	for _, c := range []struct {
		name    string
		as      string
		object  func(c kubernetes.Interface) error
		refused string // a part of the message; "" when it is let in
	}{
		{"pod with a claim", mallory, podIn("default", false, claim), "submit a job"},
		{"pod with a claim that looks like a task", mallory, podIn("default", true, claim), "submit a job"},
		{"pod with a claim, of the job controller, for somebody's own Job", jobController, podIn("default", false, claim), "submit a job"},
		{"pod with a claim, of the REST server itself", theServer, podIn("default", true, claim), "submit a job"},
		{"pod that mounts NFS by itself", mallory, podIn("default", false, nfs), "by their claims only"},
		{"pod that mounts the worker's disk", mallory, podIn("default", false, host), "by their claims only"},
		{"pod with an inline CSI volume", mallory, podIn("default", false, inline), "by their claims only"},
		{"task that mounts NFS by itself", jobController, podIn("default", true, nfs), "by their claims only"},
		{"Job with a claim", mallory, jobIn("default", "a", false, claim), "paictl job submit"},
		{"Job with our label", mallory, jobIn("default", "b", true, scratch), "paictl job submit"},
		{"Job of a CronJob with a claim", cronJobs, jobIn("default", "c", false, claim), "paictl job submit"},
		{"record of a job", mallory, secretIn("default", "pai.storage/job"), "paictl job submit"},

		{"pod without storages", mallory, podIn("default", false, scratch), ""},
		{"task of a job", jobController, podIn("default", true, claim), ""},
		{"Job without storages", mallory, jobIn("default", "d", false, scratch), ""},
		{"Job of the REST server", theServer, jobIn("default", "e", true, claim), ""},
		{"record of the REST server", theServer, secretIn("default", "pai.storage/job"), ""},
		{"another Secret", mallory, secretIn("default", "Opaque"), ""},
		{"pod with a claim elsewhere", mallory, podIn("kube-public", false, claim), ""},
		{"Job with a claim elsewhere", mallory, jobIn("kube-public", "f", true, claim), ""},
		{"template of a Job that waits is changed", mallory, changedJob("e", func(j *batchv1.Job) { j.Spec.Template.Labels["x"] = "y" }), "paictl job submit"},
		{"label is taken off a Job", mallory, changedJob("e", func(j *batchv1.Job) { delete(j.Labels, "pai.storage/job") }), "paictl job submit"},
		{"annotation of a Job is changed", jobController, changedJob("e", func(j *batchv1.Job) { j.Annotations = map[string]string{"a": "b"} }), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			as := k8srest.CopyConfig(config)
			as.Impersonate = k8srest.ImpersonationConfig{UserName: c.as}
			err := c.object(kubernetes.NewForConfigOrDie(as))
			switch {
			case c.refused == "" && err != nil:
				t.Errorf("it is refused: %v", err)
			case c.refused != "" && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), c.refused)):
				t.Errorf("got %v, want a refusal with %q", err, c.refused)
			}
		})
	}
}

// allowEverything gives all who ask every right, so that only the policy is left to refuse.
func allowEverything(t *testing.T, admin kubernetes.Interface) {
	t.Helper()
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "test"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{Kind: "Group", APIGroup: rbacv1.GroupName, Name: "system:authenticated"}}}
	if _, err := admin.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, namespace := range []string{"default", "kube-public"} { // no controller makes it here
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "default"}}
		if _, err := admin.CoreV1().ServiceAccounts(namespace).Create(t.Context(), account, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
	}
}

// policyIsOn applies the manifest, and waits until the API server goes by it.
func policyIsOn(t *testing.T, admin kubernetes.Interface, user string, config *k8srest.Config) {
	t.Helper()
	api := admin.AdmissionregistrationV1()
	for _, document := range bytes.Split(deploy.Admission, []byte("\n---\n")) {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(document, &kind); err != nil {
			t.Fatal(err)
		}
		var err error
		switch kind.Kind {
		case "ValidatingAdmissionPolicy":
			var policy admissionv1.ValidatingAdmissionPolicy
			if err = yaml.UnmarshalStrict(document, &policy); err == nil {
				_, err = api.ValidatingAdmissionPolicies().Create(t.Context(), &policy, metav1.CreateOptions{})
			}
		case "ValidatingAdmissionPolicyBinding":
			var binding admissionv1.ValidatingAdmissionPolicyBinding
			if err = yaml.UnmarshalStrict(document, &binding); err == nil {
				_, err = api.ValidatingAdmissionPolicyBindings().Create(t.Context(), &binding, metav1.CreateOptions{})
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	as := k8srest.CopyConfig(config)
	as.Impersonate = k8srest.ImpersonationConfig{UserName: user}
	probe := kubernetes.NewForConfigOrDie(as)
	claim := corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "home"}}
	await.Until(t, "the policy comes into force", func() bool {
		return apierrors.IsForbidden(podIn("default", false, claim)(probe)) && apierrors.IsForbidden(jobIn("default", "probe", false, claim)(probe))
	})
}

func podSpec(volume corev1.VolumeSource) corev1.PodSpec {
	return corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "i"}}, Volumes: []corev1.Volume{{Name: "v", VolumeSource: volume}}}
}

func podIn(namespace string, task bool, volume corev1.VolumeSource) func(kubernetes.Interface) error {
	return func(c kubernetes.Interface) error {
		yes := true
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "p-", Namespace: namespace}, Spec: podSpec(volume)}
		if task {
			pod.Labels = map[string]string{"pai.storage/job": "key"}
			pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: "j", UID: "u", Controller: &yes}}
		}
		_, err := c.CoreV1().Pods(namespace).Create(context.Background(), pod, metav1.CreateOptions{})
		return err
	}
}

func jobIn(namespace, name string, labelled bool, volume corev1.VolumeSource) func(kubernetes.Interface) error {
	return func(c kubernetes.Interface) error {
		yes := true
		job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
			Spec: batchv1.JobSpec{Suspend: &yes, Template: corev1.PodTemplateSpec{Spec: podSpec(volume)}}}
		if labelled {
			job.Labels = map[string]string{"pai.storage/job": "key"}
			job.Spec.Template.Labels = map[string]string{"pai.storage/job": "key"}
		}
		_, err := c.BatchV1().Jobs(namespace).Create(context.Background(), job, metav1.CreateOptions{})
		return err
	}
}

func secretIn(namespace, kind string) func(kubernetes.Interface) error {
	return func(c kubernetes.Interface) error {
		_, err := c.CoreV1().Secrets(namespace).Create(context.Background(), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "s-", Namespace: namespace}, Type: corev1.SecretType(kind)}, metav1.CreateOptions{})
		return err
	}
}

func changedJob(name string, change func(*batchv1.Job)) func(kubernetes.Interface) error {
	return func(c kubernetes.Interface) error {
		job, err := c.BatchV1().Jobs("default").Get(context.Background(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(job)
		_, err = c.BatchV1().Jobs("default").Update(context.Background(), job, metav1.UpdateOptions{})
		return err
	}
}
