package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	pai "github.com/pai-storage/pai-storage"
)

type loginInput struct {
	ContentType string `header:"Content-Type"`
	RawBody     []byte `contentType:"application/x-www-form-urlencoded"`
}

type loginOutput struct {
	Body struct {
		Token string `json:"token" doc:"The access token"`
		User  string `json:"user"`
		Admin bool   `json:"admin"`
	}
}

type messageOutput struct{ Body message }

func (s *Server) loginOperations() {
	form := &huma.Schema{
		Type: huma.TypeObject, Required: []string{"username", "password"},
		Properties: map[string]*huma.Schema{
			"username":   {Type: huma.TypeString},
			"password":   {Type: huma.TypeString},
			"expiration": {Type: huma.TypeInteger, Description: "How many seconds the token is good for"},
		},
	}
	register(s, pai.Guest, huma.Operation{
		OperationID: "basicLogin", Method: http.MethodPost, Path: prefix + "/authn/basic/login", Tags: []string{"authn"},
		Summary: "Get an access token for a user name and a password.", MaxBodyBytes: 16 << 10,
	}, s.login)
	// Described only now, because the library would decode and check a body that it knows the schema of.
	s.api.OpenAPI().Paths[prefix+"/authn/basic/login"].Post.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"application/x-www-form-urlencoded": {Schema: form}, "application/json": {Schema: form},
	}}
}

// logoutOperations are there in both modes: a token is a token.
func (s *Server) logoutOperations() {
	register(s, pai.Person, huma.Operation{
		OperationID: "basicLogout", Method: http.MethodDelete, Path: prefix + "/authn/basic/logout", Tags: []string{"authn"},
		Summary: "Revoke the token that the request carries.",
	}, func(ctx context.Context, _ *struct{}) (*messageOutput, error) {
		return &messageOutput{message{"Logout successfully"}}, s.services.Tokens.Logout(ctx)
	})
}

func (s *Server) login(ctx context.Context, in *loginInput) (*loginOutput, error) {
	credentials, err := parseCredentials(in.ContentType, in.RawBody)
	if err != nil {
		return nil, err
	}
	credentials.Address = requestFrom(ctx).address
	session, err := s.services.Tokens.Login(ctx, credentials)
	if err != nil {
		return nil, err
	}
	out := &loginOutput{}
	out.Body.Token, out.Body.User, out.Body.Admin = session.Token, string(session.User), session.Admin
	return out, nil
}

// parseCredentials reads a login from a form or from JSON, whichever it is, and names every fault of it.
func parseCredentials(contentType string, body []byte) (pai.Credentials, error) {
	fields, err := credentialFields(contentType, body)
	if err != nil {
		return pai.Credentials{}, err
	}
	var faults []string
	for _, key := range []string{"username", "password"} {
		if fields[key] == "" {
			faults = append(faults, key+": missing")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		switch {
		case slices.Contains(loginKeys, key):
		case fields[key] != "" && keyPattern.MatchString(key):
			faults = append(faults, key+": unexpected property")
		default: // whatever it is, it may be a password that lost its key
			faults = append(faults, "only "+strings.Join(loginKeys, ", ")+" are taken")
		}
	}
	lifetime, err := parseSeconds(fields["expiration"])
	if err != nil {
		faults = append(faults, err.Error())
	}
	user, err := pai.ParseUserName(fields["username"])
	if err != nil && fields["username"] != "" {
		faults = append(faults, err.Error())
	}
	if len(faults) > 0 {
		return pai.Credentials{}, pai.Errorf(pai.InvalidParametersError, "%s", strings.Join(faults, "; "))
	}
	return pai.Credentials{User: user, Password: pai.Password(fields["password"]), Lifetime: lifetime}, nil
}

// loginKeys are what a login may say.
var loginKeys = []string{"username", "password", "expiration"}

// keyPattern is what keys look like.
var keyPattern = regexp.MustCompile(`^[A-Za-z_]{1,20}$`)

func credentialFields(contentType string, body []byte) (map[string]string, error) {
	media, _, _ := mime.ParseMediaType(contentType)
	if media == "application/json" || (media != "application/x-www-form-urlencoded" && bytes.HasPrefix(bytes.TrimSpace(body), []byte("{"))) {
		return jsonFields(body)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, pai.Errorf(pai.InvalidParametersError, "the body is neither a form nor JSON")
	}
	fields := map[string]string{}
	for key := range form {
		fields[key] = form.Get(key)
	}
	return fields, nil
}

func jsonFields(body []byte) (map[string]string, error) {
	var values map[string]any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&values); err != nil { // the error would quote the body, and with it a password
		return nil, pai.Errorf(pai.InvalidParametersError, "the body is not a JSON object")
	}
	fields := map[string]string{}
	for key, value := range values {
		switch v := value.(type) {
		case string, json.Number:
			fields[key] = fmt.Sprint(v)
		default:
			return nil, pai.Errorf(pai.InvalidParametersError, "expected text for each key of the body")
		}
	}
	return fields, nil
}

func parseSeconds(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 1<<31 {
		return 0, pai.Errorf(pai.InvalidParametersError, "expiration: expected a number of seconds")
	}
	return time.Duration(n) * time.Second, nil
}
