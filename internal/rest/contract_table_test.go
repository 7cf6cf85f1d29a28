package rest_test

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// in is the value of the one parameter that a path has.
func in(name, value string) map[string]string { return map[string]string{name: value} }

// exemplars are requests that provoke the answers of the contract. What follows from the exemplar of a success is left out; see exemplarOf.
var exemplars = map[string]exemplar{
	"getClusterInfo 200": {as: anonymous},

	"getTokens 200":              {as: alice},
	"deleteToken 200":            {as: alice, path: in("token", "TOKEN")},
	"createApplicationToken 200": {as: alice},

	"oidcLogin 302":  {as: anonymous},
	"oidcLogout 302": {as: anonymous},

	"basicLogin 200":                        {as: anonymous, body: "username=alice&password=secret-alice&expiration=60"},
	"basicLogin 400 NoUserError":            {as: anonymous, body: "username=nobody&password=secret-alice"},
	"basicLogin 400 IncorrectPasswordError": {as: anonymous, body: "username=alice&password=secret-bob"},
	"basicLogout 200":                       {as: alice},
	"basicLogout 403":                       {as: application},

	"createUser 201": {as: admin, body: `{"username":"carol","password":"secret-carol","admin":true,"email":"c@d.ef","virtualCluster":["research"],"extension":{"a":1}}`},
	"createUser 409": {as: admin, body: `{"username":"alice","password":"secret-alice"}`},

	"getAllUser 200": {as: admin},

	"updateUser 201": {as: admin, body: `{"data":{"username":"bob","email":"b@c.de","virtualCluster":["research"],"admin":false,"password":"secret-new","extension":{}},"patch":false}`},
	"updateUser 404": {as: admin, body: `{"data":{"username":"nobody","email":"b@c.de"},"patch":true}`},

	"updateUserSelf 201": {as: alice, body: `{"data":{"username":"alice","email":"a@b.cd","newPassword":"secret-new","oldPassword":"secret-alice","extension":{}},"patch":false}`},

	"getUser 200": {as: alice, path: in("user", "alice")},
	"getUser 404": {as: admin, path: in("user", "nobody")},

	"deleteUser 200": {as: admin, path: in("user", "alice")},
	"deleteUser 404": {as: admin, path: in("user", "nobody")},

	"updateUserGroup 201":     {as: admin, path: in("user", "bob"), body: `{"groupname":"research"}`},
	"updateUserGroup 404":     {as: admin, path: in("user", "nobody"), body: `{"groupname":"research"}`},
	"deleteUserGroup 201":     {as: admin, path: in("user", "alice"), body: `{"groupname":"research"}`},
	"deleteUserGroup 404":     {as: admin, path: in("user", "nobody"), body: `{"groupname":"research"}`},
	"updateUserGrouplist 201": {as: admin, path: in("user", "bob"), body: `{"grouplist":["research"]}`},
	"updateUserGrouplist 404": {as: admin, path: in("user", "nobody"), body: `{"grouplist":["research"]}`},

	"getAllGroup 200": {as: alice},

	"createGroup 201": {as: admin, body: `{"groupname":"team","description":"d","externalName":"e","extension":{"acls":{"admin":false}}}`},

	"updateGroup 201": {as: admin, body: `{"data":{"groupname":"default","description":"d","externalName":"e","extension":{"acls":{"admin":false}}},"patch":false}`},
	"updateGroup 404": {as: admin, body: `{"data":{"groupname":"nowhere","description":"d"},"patch":true}`},

	"getGroup 200": {as: alice, path: in("group", "research")},
	"getGroup 404": {as: alice, path: in("group", "nowhere")},

	"deleteGroup 201": {as: admin, path: in("group", "research")},

	"getGroupMembers 200": {as: admin, path: in("group", "research")},

	"listVirtualClusters 200": {as: alice},
	"getVirtualCluster 200":   {as: alice, path: in("vc", "research")},
	"getVirtualCluster 404":   {as: alice, path: in("vc", "nowhere")},

	"getStorages 200": {as: alice, query: "default=true"},
	"getStorage 200":  {as: admin, path: in("storage", "samba")},
	"getStorage 403":  {as: alice, path: in("storage", "samba")},
	"getStorage 404":  {as: alice, path: in("storage", "nowhere")},

	"createJob 202": {as: alice, body: jobDocument("new", "")},
	"createJob 400": {as: alice, body: jobDocument("new", "defaults: {virtualCluster: nowhere}")},
	"createJob 403": {as: alice, body: jobDocument("new", "extras: {storages: [{name: samba}]}")},
	"createJob 409": {as: alice, body: jobDocument("existing", "")},
	"listJobs 200":  {as: alice, query: "username=alice&vc=default&state=WAITING&keyword=exist&order=jobName,ASC&limit=10"},

	"getJob 200":        {as: alice, path: existing()},
	"getJob 404":        {as: alice, path: in("framework", "alice~nowhere")},
	"getJobAttempt 200": {as: alice, path: existing("jobAttemptId", "0")},
	"getJobAttempt 404": {as: alice, path: existing("jobAttemptId", "7")},
	"getJobConfig 200":  {as: alice, path: existing()},
	"getJobConfig 404":  {as: alice, path: in("framework", "alice~nowhere")},

	"updateJobExecutionType 202": {as: alice, path: existing(), body: `{"value":"STOP"}`},
	"updateJobExecutionType 400": {as: alice, path: existing(), body: `{"value":"PAUSE"}`},
	"updateJobExecutionType 404": {as: alice, path: in("framework", "alice~nowhere"), body: `{"value":"STOP"}`},

	"addTag 200":               {as: alice, path: existing(), body: `{"value":"new"}`},
	"addTag 400":               {as: alice, path: existing(), body: `{"value":"a,b"}`},
	"addTag 404":               {as: alice, path: in("framework", "alice~nowhere"), body: `{"value":"new"}`},
	"deleteTag 200":            {as: alice, path: existing(), body: `{"value":"tag"}`},
	"deleteTag 404 NoJobError": {as: alice, path: in("framework", "alice~nowhere"), body: `{"value":"tag"}`},
	"deleteTag 404 NoTagError": {as: alice, path: existing(), body: `{"value":"none"}`},

	"getEvents 200": {as: alice, path: existing(), query: "type=Warning"},
	"getEvents 404": {as: alice, path: in("framework", "alice~nowhere")},
	"getTask 200":   {as: alice, path: existing("jobAttemptId", "0", "taskRoleName", "worker", "taskIndex", "0")},
	"getTask 404":   {as: alice, path: existing("jobAttemptId", "0", "taskRoleName", "worker", "taskIndex", "9")},

	"getK8sNodes 200": {as: admin},
	"getK8sPods 200":  {as: admin, query: "namespace=default"},
}

// existing is the path of alice's job, and more parameters of it.
func existing(more ...string) map[string]string {
	out := in("framework", "alice~existing")
	for i := 0; i < len(more); i += 2 {
		out[more[i]] = more[i+1]
	}
	return out
}

// sambaStorage is a storage that has something to say in every field.
func sambaStorage() []runtime.Object {
	volume := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "samba-pv"}, Spec: corev1.PersistentVolumeSpec{
		MountOptions: []string{"dir_mode=0777"},
		PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
			Driver: "smb.csi.k8s.io", VolumeHandle: "samba", VolumeAttributes: map[string]string{"source": "//host/share"},
			NodeStageSecretRef: &corev1.SecretReference{Name: "samba-secret", Namespace: "default"},
		}},
	}}
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "samba"},
		Spec:       corev1.PersistentVolumeClaimSpec{VolumeName: volume.Name},
		Status:     corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound},
	}
	return []runtime.Object{volume, claim}
}
