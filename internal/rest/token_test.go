package rest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pai-storage/pai-storage/internal/servertest"
)

type tokenList struct {
	Tokens  []string
	Details []struct {
		ID              string
		Application     bool
		Issued, Expires *time.Time
		Current         bool
	}
}

func tokens(t *testing.T, s *servertest.Server, auth string) tokenList {
	t.Helper()
	_, text := check(t, s, auth, "GET", "/api/v2/tokens", "", "", 200, "")
	var out tokenList
	if err := json.Unmarshal([]byte(text), &out); err != nil || len(out.Tokens) != len(out.Details) {
		t.Fatalf("got %s, %v", text, err)
	}
	return out
}

func TestTokens(t *testing.T) {
	s := servertest.Start(t, nil)
	token := s.Token(t, "alice")
	alice := "Bearer " + token
	listed(t, s, "alice", jwt.MapClaims{"username": "alice", "application": false, "iat": 1600000000, "exp": 1700000000}) // expired
	listed(t, s, "alice", jwt.MapClaims{"username": "bob", "application": false, "iat": 1600000000})                      // not alice's
	old := listed(t, s, "alice", jwt.MapClaims{"username": "alice", "application": true, "iat": 1600000000})
	_, text := check(t, s, alice, "POST", "/api/v2/tokens/application", "", "", 200, `"application":true`)
	var made struct{ Token string }
	if err := json.Unmarshal([]byte(text), &made); err != nil {
		t.Fatal(err)
	}
	got := tokens(t, s, alice)
	if len(got.Tokens) != 3 || got.Tokens[2] != old {
		t.Fatalf("got %+v", got)
	}
	for i, d := range got.Details {
		isLogin := got.Tokens[i] == token
		if d.ID == "" || d.Issued == nil || d.Application == isLogin || d.Current != isLogin || (d.Expires != nil) != isLogin {
			t.Errorf("token %d: got %+v", i, d)
		}
	}
	check(t, s, "Bearer "+made.Token, "GET", "/api/v2/tokens", "", "", 403, "Applications are not allowed")
}

func TestRevoke(t *testing.T) {
	s := servertest.Start(t, nil)
	admin, alice, bob := "Bearer "+s.Token(t, "admin"), "Bearer "+s.Token(t, "alice"), "Bearer "+s.Token(t, "bob")
	revoke := func(auth, token string, status int, part string) {
		t.Helper()
		check(t, s, auth, "DELETE", "/api/v2/tokens/"+token, "", "", status, part)
	}
	application := func() string {
		t.Helper()
		token, err := s.Accounts.IssueApplicationToken(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	first, second, third := application(), application(), application()
	revoke(bob, first, 403, "The token belongs to user alice")
	var ids []string
	for i, d := range tokens(t, s, alice).Details {
		if tokens(t, s, alice).Tokens[i] == third {
			ids = append(ids, d.ID)
		}
	}
	revoke(bob, ids[0], 200, "nothing to revoke") // an id names one's own tokens alone
	revoke(admin, ids[0], 200, "nothing to revoke")
	revoke(alice, first, 200, `{"message":"revoke successfully"}`)
	revoke(alice, first, 200, "nothing to revoke")
	revoke(admin, second, 200, "revoke successfully")
	revoke(alice, ids[0], 200, "revoke successfully")
	for _, token := range []string{first, second, third} {
		check(t, s, "Bearer "+token, "GET", "/api/v2/jobs/alice~none", "", "", 401, "UnauthorizedUserError")
	}
	revoke(alice, strings.TrimPrefix(alice, "Bearer "), 200, "revoke successfully")
	revoke(alice, "x", 401, "UnauthorizedUserError")
}

// TestTokensOfAnotherKey: what the original signed and nobody here can read is not shown, and can be revoked.
func TestTokensOfAnotherKey(t *testing.T) {
	s := servertest.Start(t, nil)
	alice := "Bearer " + s.Token(t, "alice")
	foreign, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"username": "alice", "application": true}).SignedString([]byte("the original's"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Cluster.AddToken(t.Context(), "alice", foreign, func([]string) ([]string, error) { return nil, nil }); err != nil {
		t.Fatal(err)
	}
	if got := tokens(t, s, alice); len(got.Tokens) != 1 {
		t.Errorf("got %+v", got)
	}
	check(t, s, alice, "DELETE", "/api/v2/tokens/"+foreign, "", "", 200, "revoke successfully")
}

func TestApplicationTokensAreBounded(t *testing.T) {
	s := servertest.Start(t, nil)
	alice := "Bearer " + s.Token(t, "alice")
	for i := range 100 {
		listed(t, s, "alice", jwt.MapClaims{"username": "alice", "application": true, "jti": fmt.Sprint(i)})
	}
	check(t, s, alice, "POST", "/api/v2/tokens/application", "", "", 403, "User alice has 100 application tokens, which is the most")
	check(t, s, alice, "DELETE", "/api/v2/tokens/"+tokens(t, s, alice).Details[50].ID, "", "", 200, "revoke successfully")
	check(t, s, alice, "POST", "/api/v2/tokens/application", "", "", 200, "")
}
