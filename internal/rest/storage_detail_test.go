package rest_test

import (
	"encoding/json"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pai-storage/pai-storage/internal/servertest"
)

// TestStorageDetail reads a storage of each source, whose volumes have secrets wherever they may. The rest of the options is shown.
func TestStorageDetail(t *testing.T) {
	c := &canaries{what: map[string]string{}}
	s := servertest.Start(t, nil, plantedStorages(c)...)
	admin := "Bearer " + s.Token(t, "admin")
	options := `"mountOptions":["hard","dir_mode=0777","vers=3.0,seal","endpoint=https://host/","blob=https://host/c?sv=1&sig=(withheld)"]`
	left := sourcesWithSecrets(c.plant)
	for name, want := range map[string]string{
		"in-nfs":      `"type":"nfs","data":{"server":"10.0.0.1","path":"/data"},` + options,
		"in-nfs-csi":  `"type":"nfs","data":{"server":"10.0.0.1","path":"/data"},` + options,
		"in-smb":      `"type":"samba","data":{"address":"//host/share"},"secretName":"in-smb-cred","mountOptions":["vers=3.0"]`,
		"in-smb-csi":  `"type":"samba","data":{"address":"//host/share"},"secretName":"in-smb-csi-cred",` + options,
		"in-blobfuse": `"type":"azureBlob","data":{"containerName":"c","accountName":"a"},"secretName":"in-blobfuse-cred"`,
		"in-blob-csi": `"type":"azureBlob","data":{"containerName":"c","accountName":"a"},"secretName":"in-blob-csi-cred",` + options,
		"in-file":     `"type":"azureFile","data":{"shareName":"s"},"secretName":"in-file-cred",` + options,
		"in-file-csi": `"type":"azureFile","data":{"shareName":"s","accountName":"a"},"secretName":"in-file-csi-cred",` + options,
		"in-our-blob": `"type":"azureBlob","data":{"containerName":"c","accountName":"a","endpoint":"https://h"},"secretName":"in-our-blob-cred",` + options,
		"in-our-s3":   `"type":"s3","data":{"bucket":"b","endpoint":"https://h","region":"r"},"secretName":"in-our-s3-cred",` + options,
		"in-dshuttle": `"type":"dshuttle","data":{"address":"https://host/x","path":"/y","blob":"https://host/c?sv=1&sig=(withheld)&se=2","options":"vers=3"},"secretName":"in-dshuttle-cred",` + options,
		"in-host":     `"type":"hostPath","data":{"path":"/x"},` + options,
		"in-local":    `"type":"local","data":{"path":"/x"},` + options,
		"in-other":    `"type":"other","data":{"driver":"x.example"},"secretName":"in-other-cred",` + options,
		"in-flex":     `"type":"other","data":{"driver":"x/y"},"secretName":"in-flex-cred","mountOptions":["a=b"]`,
		"in-ceph":     `"type":"other","data":{"driver":"cephfs"},` + options,
		"in-none":     `"type":"unknown","data":{},` + options,
	} {
		delete(left, name)
		_, text := check(t, s, admin, "GET", "/api/v2/storages/"+name, "", "", 200, "")
		var got, wanted map[string]any
		err1 := json.Unmarshal([]byte(text), &got)
		err2 := json.Unmarshal([]byte(`{"name":"`+name+`","share":true,"volumeName":"`+name+`-pv","default":false,"readOnly":false,`+want+`}`), &wanted)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if diff := cmp.Diff(wanted, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for name := range maps.Keys(left) {
		t.Errorf("%s is not in the table", name)
	}
}
