package rest_test

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/md4" //lint:ignore SA1019 SMB's hash of passwords is made of it
)

// canaryBody is a request's body, and what it says that it is.
type canaryBody struct{ typ, text string }

// bodies are good and bad bodies of an operation; one of nothing for an operation without.
func (w *canaryWalk) bodies(t *testing.T, id string) []canaryBody {
	t.Helper()
	content := member(w.api.operations[id].fields, "requestBody", "content")
	if content == nil {
		return []canaryBody{{}}
	}
	types := slices.Sorted(maps.Keys(content))
	out := w.byHand(id)
	for _, typ := range types {
		if row := whoTable()[id]; row.body != "" {
			body := strings.NewReplacer("CALLER", fmt.Sprint("c", len(w.what)), "SELF", "alice", "carol", fmt.Sprint("carol", len(w.what))).Replace(row.body)
			out = append(out, canaryBody{row.typ, body})
		}
		for _, text := range w.wrong(member(content, typ, "schema"), id) {
			out = append(out, canaryBody{typ, text})
		}
	}
	return append(out, w.malformed(types[0], id)...)
}

// wrong are JSON bodies with a secret where something else is expected, made from the description of the body.
func (w *canaryWalk) wrong(schema map[string]any, id string) []string {
	schema = w.api.resolve(schema)
	what := "wrong value for " + id
	switch kinds := fmt.Sprint(schema["type"]); {
	case strings.Contains(kinds, "object"):
		out := []string{fmt.Sprintf("%q", w.plant(what)), fmt.Sprintf("[%q]", w.plant(what))}
		if schema["additionalProperties"] == false {
			out = append(out, fmt.Sprintf(`{"nosuch":%q}`, w.plant(what+" of an unknown key")))
		}
		for name := range member(schema, "properties") {
			for _, text := range w.wrong(member(schema, "properties", name), id+" "+name) {
				out = append(out, fmt.Sprintf("{%q:%s}", name, text))
			}
		}
		if each := member(schema, "additionalProperties"); each["type"] != nil {
			for _, text := range w.wrong(each, id) {
				out = append(out, fmt.Sprintf(`{"password":%s}`, text))
			}
		}
		return out
	case strings.Contains(kinds, "array"):
		out := []string{fmt.Sprintf("%q", w.plant(what)), fmt.Sprintf(`{"a":%q}`, w.plant(what)), w.plantNumber(what)}
		for _, text := range w.wrong(member(schema, "items"), id) {
			out = append(out, "["+text+"]")
		}
		return out
	case strings.Contains(kinds, "string"):
		out := []string{fmt.Sprintf("[%q]", w.plant(what)), fmt.Sprintf(`{"a":%q}`, w.plant(what)), w.plantNumber(what)}
		if schema["enum"] != nil {
			out = append(out, fmt.Sprintf("%q", w.plant(what)))
		}
		return out
	case strings.Contains(kinds, "boolean"), strings.Contains(kinds, "integer"), strings.Contains(kinds, "number"):
		return []string{fmt.Sprintf("%q", w.plant(what)), fmt.Sprintf("[%q]", w.plant(what)), fmt.Sprintf(`{"a":%q}`, w.plant(what))}
	}
	return nil // anything is right
}

// malformed are bodies that cannot be read, and types that nobody expects.
func (w *canaryWalk) malformed(typ, id string) []canaryBody {
	secret := w.plant("malformed body of " + id)
	return []canaryBody{
		{typ, `{"password":"` + secret}, {typ, `{"password":"` + secret + `"`}, {typ, secret}, {typ, `{"password":` + secret + `}`},
		{typ, `password=` + secret}, {typ, "\x00" + secret}, {typ, "\xff" + secret}, {typ, "- " + secret + ": [" + secret},
		{"", `{"password":"` + secret + `"}`}, {"text/plain", secret}, {"application/xml", "<password>" + secret + "</password>"},
		{"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n" + secret + "\r\n--x--"},
		{"application/x-www-form-urlencoded", "password=" + secret}, {"application/cbor", "\xa1\x68password\x64" + secret},
	}
}

// byHand are bodies whose secrets are at the right place, or nearly so.
func (w *canaryWalk) byHand(id string) []canaryBody {
	var texts []string
	typ := "application/json"
	switch id {
	case "basicLogin":
		return w.logins()
	case "createUser":
		texts = []string{`{"username":"new","password":"SECRET","extension":{"jobSSH":{"key":"SECRET"},"deep":{"list":["-----BEGIN RSA PRIVATE KEY-----SECRET"]}}}`,
			`{"username":"bad name","password":"SECRET","email":"no"}`, `{"username":"new2","password":"SECRET\n","virtualCluster":["none"]}`}
	case "updateUser":
		texts = []string{`{"data":{"username":"alice","extension":{"jobSSH":{"key":"SECRET"},"pem":"-----BEGIN OPENSSH PRIVATE KEY-----SECRET"}},"patch":true}`,
			`{"data":{"username":"bob","password":"SECRET"},"patch":true}`, `{"data":{"username":"nobody","password":"SECRET"},"patch":true}`}
	case "updateUserSelf":
		texts = []string{`{"data":{"username":"alice","newPassword":"secret-new","oldPassword":"SECRET"},"patch":true}`,
			`{"data":{"username":"alice","newPassword":"SECRET"},"patch":true}`,
			`{"data":{"username":"alice","extension":{"jobSSH":{"key":"SECRET","pub":"p"}}},"patch":true}`}
	case "setStoragePassword":
		texts = []string{`{"password":"SECRET"}`, `{"password":"SECRET\n"}`, `{"password":"SECRET` + strings.Repeat("x", 127) + `"}`, `{"passwort":"SECRET"}`}
	case "declareStorage":
		texts = declarationsWithSecrets
	case "createJob":
		typ = "text/yaml"
		texts = []string{jobDocument("with-secret", "extras: {token: SECRET}"), jobDocument("x", "secrets: {token: SECRET}"), jobDocument("x", "secrets: [SECRET"), jobDocument("x", "secrets: SECRET"),
			jobDocument("x", "extras: {storages: {name: SECRET}}"), jobDocument("x", "defaults: SECRET"), "SECRET", "secrets: *SECRET", "[SECRET]", "secrets:\n\tkey: SECRET",
			jobDocument("x", "jobRetryCount: SECRET"), jobDocument("x", "jobRetryCount: {password: SECRET}"), `secrets: {a: "SECRET`, "secrets: {a: !!int SECRET}"}
	}
	var out []canaryBody
	for i, text := range texts {
		secret := w.plant(fmt.Sprint("in body ", i, " of ", id))
		if id == "setStoragePassword" {
			hash := md4.New()
			for _, b := range []byte(secret) {
				hash.Write([]byte{b, 0})
			}
			for _, format := range []string{"%X", "%x", "%s"} {
				w.what[fmt.Sprintf(format, hash.Sum(nil))] = fmt.Sprint("NT hash in body ", i)
			}
		}
		out = append(out, canaryBody{typ, strings.ReplaceAll(text, "SECRET", secret)})
	}
	return out
}

// declarationsWithSecrets has them where they belong, and where people put them by mistake.
var declarationsWithSecrets = []string{
	`{"name":"samba-a","type":"samba","address":"//host/share","secret":{"username":"u","password":"SECRET"}}`,
	`{"name":"blob-a","type":"azureBlob","containerName":"c","secret":{"accountname":"a","accountkey":"SECRET"}}`,
	`{"name":"file-a","type":"azureFile","shareName":"c","secret":{"azurestorageaccountname":"a","azurestorageaccountkey":"SECRET"}}`,
	`{"name":"blob-h","type":"azureBlob","accountName":"team","containerName":"c","endpoint":"https://u:SECRET@h/","secret":{"accountkey":"SECRET"}}`,
	`{"name":"blob-i","type":"azureBlob","accountName":"team","containerName":"c","secret":{"accountname":"SECRET","accountkey":"SECRET"}}`,
	`{"name":"blob-j","type":"azureBlob","accountName":"team","containerName":"c","secret":{"accountsastoken":"SECRET"}}`,
	`{"name":"file-b","type":"azureFile","accountName":"team","shareName":"s","server":"u:SECRET@h","secret":{"azurestorageaccountkey":"SECRET"}}`,
	`{"name":"s3-a","type":"s3","bucket":"bucket","secret":{"accesskey":"a","secretkey":"SECRET"}}`,
	`{"name":"s3-b","type":"s3","bucket":"bucket","endpoint":"https://h/?X-Amz-Signature=SECRET","secret":{"accesskey":"a","secretkey":"SECRET"}}`,
	`{"name":"s3-c","type":"s3","bucket":"bucket","anonymous":true,"options":{"secretkey":"SECRET"}}`,
	`{"name":"x","type":"samba","address":"//host/share","secret":{"username":"u","passwort":"SECRET"}}`,
	`{"name":"x","type":"samba","address":"//host/share","secret":{"username":"u","password":"SECRET\n"}}`,
	`{"name":"x","type":"samba","address":"//user:SECRET@host/share","secretName":"s"}`,
	`{"name":"x","type":"nfs","server":"user:SECRET@host","path":"/x"}`,
	`{"name":"x","type":"nfs","server":"host","path":"https://user:SECRET@host/x"}`,
	`{"name":"x","type":"azureBlob","containerName":"c?sv=1&sig=SECRET","secretName":"s"}`,
	`{"name":"x","type":"azureFile","shareName":"user:SECRET@c","secretName":"s"}`,
	`{"name":"x","type":"samba","address":"//host/share","secretName":"PW SECRET"}`,
	`{"name":"x","type":"samba","address":"//host/share","secretName":"s","mountOptions":["password=SECRET"]}`,
	`{"name":"x","type":"samba","address":"//host/share","secretName":"s","mountOptions":["vers=3.0,password=SECRET"]}`,
	`{"name":"samba-b","type":"samba","address":"//host/share","secretName":"s","mountOptions":["-o password=SECRET"]}`,
	`{"name":"blob-b","type":"azureBlob","containerName":"c","secretName":"s","mountOptions":["--file-cache --account-key=SECRET"]}`,
	`{"name":"blob-c","type":"azureBlob","containerName":"c","secretName":"s","mountOptions":["--account-key SECRET"]}`,
	`{"name":"x","type":"samba","address":"//host/share","secretName":"s","options":{"password":"SECRET"}}`,
	`{"name":"blob-d","type":"azureBlob","containerName":"c","secretName":"s","options":{"sasToken":"SECRET"}}`,
	`{"name":"blob-e","type":"azureBlob","containerName":"c","secretName":"s","options":{"endpoint":"https://u:SECRET@host/?sv=1"}}`,
	`{"name":"blob-f","type":"azureBlob","containerName":"c","secretName":"s","options":{"endpoint":"https://host/?sv=1&sig=SECRET"}}`,
	`{"name":"blob-g","type":"azureBlob","containerName":"c","secretName":"s","options":{"mountoptions":"--account-key=SECRET"}}`,
}

// logins have a password in every way that somebody may send one.
func (w *canaryWalk) logins() []canaryBody {
	secret := w.plant("password of a login")
	form, json := "username=carl&password="+url.QueryEscape(secret), `{"username":"carl","password":"`+secret+`"}`
	var out []canaryBody
	for _, typ := range []string{"", "text/plain", "application/json", "application/x-www-form-urlencoded", "application/octet-stream"} {
		out = append(out, canaryBody{typ, form}, canaryBody{typ, json})
	}
	return append(out, canaryBody{"application/x-www-form-urlencoded", form + "%zz"}, canaryBody{"application/json", `{"username":{"password":"` + secret + `"}}`},
		canaryBody{"application/json", `{"username":"carl","password":"x","expiration":"` + secret + `"}`},
		canaryBody{"application/x-www-form-urlencoded", "username=carl&password=x&expiration=" + secret})
}

// queries have a secret in a parameter that nobody knows, and one in each that takes something else than text.
func (w *canaryWalk) queries(op servedOperation) []string {
	out := []string{"token=" + w.plant("query"), "access_token=" + w.plant("query") + "&" + w.plant("query")}
	parameters, _ := op.fields["parameters"].([]any)
	for _, p := range parameters {
		parameter := p.(map[string]any)
		schema := member(parameter, "schema")
		if parameter["in"] == "query" && (schema["type"] != "string" || schema["format"] != nil || schema["enum"] != nil) {
			out = append(out, fmt.Sprintf("%s=%s", parameter["name"], w.plant("wrong query")))
		}
	}
	return out
}
