package auth

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/kube"
	"github.com/pai-storage/pai-storage/internal/kubefake"
)

// originalOfAdmin is the original's hash of the password "admin-password" of the user "admin".
const originalOfAdmin = pai.PasswordHash("822330e44ace9eba338341d3d6830ac5cd60661b12b8ea9a5fa62aa40bd23944818021c11272f6f7bb16e34af5fbfa0b2f87bc30d51c6c2eeb75444a854cf882")

func TestPasswords(t *testing.T) {
	hash := hashPassword("secret")
	if ok, old := verifyPassword("u", "secret", hash); !ok || old {
		t.Error("a new hash does not verify")
	}
	if again := hashPassword("secret"); again == hash {
		t.Error("two hashes of one password are equal")
	}
	for _, bad := range []pai.PasswordHash{"", "$argon2id$", "$argon2id$v=19$m=4294967295,t=1,p=1$YWFhYQ$YWFhYWFhYWFhYWFhYWFhYQ", "$argon2id$v=19$m=8,t=0,p=0$a$b",
		hash[:len(hash)-1], "admin-password"} {
		if ok, _ := verifyPassword("admin", "admin-password", bad); ok {
			t.Errorf("%q verifies", string(bad))
		}
	}
	if ok, old := verifyPassword("admin", "admin-password", originalOfAdmin); !ok || !old {
		t.Error("the original's hash does not verify")
	}
	if ok, _ := verifyPassword("other", "admin-password", originalOfAdmin); ok {
		t.Error("the original's hash verifies for another user")
	}
}

// accounts runs on a cluster that holds the user admin with a hash of the original's.
func accounts(t *testing.T, o Options) (*Accounts, *kube.Cluster) {
	t.Helper()
	client := kubefake.New(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: kube.UserNamespace, Name: "61646d696e"},
		Data: map[string][]byte{"username": []byte("admin"), "email": []byte(""), "password": []byte(originalOfAdmin),
			"grouplist": []byte(`["default","admingroup"]`), "extension": []byte(`{"virtualCluster":["default"]}`)},
	}, groupSecret(pai.DefaultGroup, `{"acls":{"admin":false}}`), groupSecret(pai.AdminGroup, `{"acls":{"admin":true}}`))
	cluster, err := kube.New(client, kube.Options{JobsNamespace: "default"})
	if err != nil {
		t.Fatal(err)
	}
	go cluster.Run(t.Context())
	if err := cluster.WaitSynced(t.Context()); err != nil {
		t.Fatal(err)
	}
	return NewAccounts(cluster, []byte(strings.Repeat("k", 64)), o), cluster
}

// groupSecret is a group as the original keeps it.
func groupSecret(name pai.GroupName, extension string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: kube.GroupNamespace, Name: hex.EncodeToString([]byte(name))},
		Data:       map[string][]byte{"groupname": []byte(name), "extension": []byte(extension)},
	}
}

func TestLoginUpgradesOldHashes(t *testing.T) {
	for _, keep := range []bool{false, true} {
		a, cluster := accounts(t, Options{KeepOldHashes: keep})
		for range 2 { // with the old hash, then with whatever is there now
			if _, err := a.Login(t.Context(), pai.Credentials{User: "admin", Password: "admin-password"}); err != nil {
				t.Fatal(err)
			}
		}
		u, err := cluster.User(t.Context(), "admin")
		if err != nil {
			t.Fatal(err)
		}
		if upgraded := strings.HasPrefix(string(u.Password), argonPrefix); upgraded == keep {
			t.Errorf("keep old hashes %t: upgraded %t", keep, upgraded)
		}
	}
}

// TestNewPasswordsBesideTheOriginal: while it runs beside this server it has to be able to verify them.
func TestNewPasswordsBesideTheOriginal(t *testing.T) {
	for _, keep := range []bool{false, true} {
		a, cluster := accounts(t, Options{KeepOldHashes: keep})
		ctx := pai.WithCaller(t.Context(), pai.Caller{User: "admin", Admin: true})
		if _, err := a.CreateUser(ctx, pai.NewUser{Name: "new", Password: "secret-new"}); err != nil {
			t.Fatal(err)
		}
		changed, old := pai.Password("secret-admin"), pai.Password("admin-password")
		if _, err := a.ChangeSelf(ctx, pai.SelfChange{Name: "admin", OldPassword: &old, NewPassword: &changed, Patch: true}); err != nil {
			t.Fatal(err)
		}
		for name, password := range map[pai.UserName]pai.Password{"new": "secret-new", "admin": changed} {
			u, err := cluster.User(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			if ok, original := verifyPassword(name, password, u.Password); !ok || original != keep {
				t.Errorf("keep old hashes %t: %s: verifies %t, the original's %t", keep, name, ok, original)
			}
		}
	}
}

// TestGuessingIsLimitedByAddress: trying one password on many users is no way around the limit for each.
func TestGuessingIsLimitedByAddress(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a, _ := accounts(t, Options{KeepOldHashes: true, Now: func() time.Time { return now }})
	login := func(user pai.UserName, address string) pai.Code {
		_, err := a.Login(t.Context(), pai.Credentials{User: user, Password: "admin-password", Address: address})
		return pai.CodeOf(err)
	}
	var refused int
	for i := range 60 {
		if login(pai.UserName(fmt.Sprint("user-", i)), "10.0.0.1") == pai.TooManyRequestsError {
			refused++
		}
	}
	if refused != 10 {
		t.Errorf("%d of 60 were refused, want 10", refused)
	}
	if got := [...]pai.Code{login("admin", "10.0.0.1"), login("admin", "10.0.0.2")}; got != [...]pai.Code{pai.TooManyRequestsError, ""} {
		t.Errorf("from the same address and from another: got %q", got)
	}
	now = now.Add(time.Minute)
	if got := login("admin", "10.0.0.1"); got != "" {
		t.Errorf("after a minute: got %q", got)
	}
}

func TestTokensExpireAndAreDroppedThen(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a, cluster := accounts(t, Options{Now: func() time.Time { return now }})
	login := func() string {
		s, err := a.Login(t.Context(), pai.Credentials{User: "admin", Password: "admin-password", Lifetime: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		return s.Token
	}
	first := login()
	if c, err := a.Authenticate(t.Context(), first); err != nil || c.User != "admin" || c.Application {
		t.Fatalf("got %+v, %v", c, err)
	}
	now = now.Add(2 * time.Hour)
	if _, err := a.Authenticate(t.Context(), first); pai.CodeOf(err) != pai.UnauthorizedUserError || !strings.Contains(err.Error(), "expired at 2026-01-01T01:00:00Z") {
		t.Errorf("an expired token: got %v", err)
	}
	second := login()
	if cluster.TokenListed("admin", first) || !cluster.TokenListed("admin", second) {
		t.Error("the expired token is still listed, or the new one is not")
	}
}

func TestOldestSessionsGo(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a := &Accounts{signer: signer{key: []byte("key"), now: func() time.Time { return now }}}
	issue := func(application bool) string {
		now = now.Add(time.Second)
		token, err := a.signer.issue("alice", application, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	listed := []string{issue(true), "of another key"}
	oldest := issue(false)
	listed = append(listed, oldest)
	for range maxSessions - 1 {
		listed = append(listed, issue(false))
	}
	if drop := a.prune(listed); len(drop) != 1 || drop[0] != oldest {
		t.Errorf("%d go", len(drop))
	}
	if drop := a.prune(listed[:maxSessions]); len(drop) != 0 {
		t.Errorf("%d of few go", len(drop))
	}
}

func TestForgedTokens(t *testing.T) {
	a, cluster := accounts(t, Options{})
	claims := jwt.MapClaims{"username": "admin", "application": false, "exp": time.Now().Add(time.Hour).Unix()}
	sign := func(method jwt.SigningMethod, key any, c jwt.MapClaims) string {
		token, err := jwt.NewWithClaims(method, c).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	key := a.signer.key
	for name, token := range map[string]string{
		"none":       sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims),
		"other key":  sign(jwt.SigningMethodHS256, []byte("another key"), claims),
		"HS512":      sign(jwt.SigningMethodHS512, key, claims),
		"other user": sign(jwt.SigningMethodHS256, key, jwt.MapClaims{"username": "nobody"}),
		"odd user":   sign(jwt.SigningMethodHS256, key, jwt.MapClaims{"username": "../admin"}),
		"not before": sign(jwt.SigningMethodHS256, key, jwt.MapClaims{"username": "admin", "nbf": time.Now().Add(time.Hour).Unix()}),
		"empty":      "",
		"long":       strings.Repeat("x", 10_000),
	} {
		for _, user := range []pai.UserName{"admin", "nobody"} { // listed, as if someone had written it there
			if err := cluster.AddToken(t.Context(), user, token, func([]string) ([]string, error) { return nil, nil }); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := a.Authenticate(t.Context(), token); pai.CodeOf(err) != pai.UnauthorizedUserError {
			t.Errorf("%s: got %v", name, err)
		}
	}
	expired := jwt.MapClaims{"username": "admin", "exp": time.Now().Add(-time.Hour).Unix()}
	if _, err := a.Authenticate(t.Context(), sign(jwt.SigningMethodHS256, []byte("another key"), expired)); err == nil || !strings.Contains(err.Error(), "not one of this server") {
		t.Errorf("forged and expired: got %v", err)
	}
	if _, err := a.Authenticate(t.Context(), sign(jwt.SigningMethodHS256, key, claims)); pai.CodeOf(err) != pai.UnauthorizedUserError || !strings.Contains(err.Error(), "was revoked") {
		t.Errorf("well signed but not listed: got %v", err)
	}
}

func TestLimiter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l := newLimiter(2, time.Minute, func() time.Time { return now })
	take := func() bool { _, ok := l.take("k"); return ok }
	if got, want := [...]bool{take(), take(), take()}, [...]bool{true, true, false}; got != want {
		t.Errorf("a burst of 2: %v, want %v", got, want)
	}
	l.giveBack("k")
	if !take() || take() {
		t.Error("giving back does not")
	}
	now = now.Add(time.Minute)
	if !take() || take() {
		t.Error("a minute does not give one more")
	}
	now = now.Add(time.Hour)
	for i := range 3 * maxBuckets {
		l.take(strings.Repeat("x", i%7) + time.Duration(i).String())
	}
	if len(l.buckets) > maxBuckets {
		t.Errorf("%d buckets", len(l.buckets))
	}
}

func FuzzTokens(f *testing.F) {
	s := signer{key: []byte("key"), now: time.Now}
	good, err := s.issue("alice", false, time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("eyJhbGciOiJub25lIn0.eyJ1c2VybmFtZSI6ImFkbWluIn0.")
	f.Fuzz(func(t *testing.T, token string) {
		if c, err := s.read(token); err == nil && c.Username != "alice" {
			t.Errorf("%q is taken as %q", token, c.Username)
		}
	})
}

// TestOwnAffairs: who may see the own profile and make tokens, the forbidden callers first.
func TestOwnAffairs(t *testing.T) {
	a, _ := accounts(t, Options{})
	services := Guard(pai.Services{Users: a, Tokens: a}, a)
	caller := func(c pai.Caller) context.Context { return pai.WithCaller(t.Context(), c) }
	person := caller(pai.Caller{User: "admin"})
	for _, c := range []struct {
		name     string
		ctx      context.Context
		lifetime time.Duration
		profile  pai.Code
		issue    pai.Code
	}{
		{"anonymous", t.Context(), 0, pai.UnauthorizedUserError, pai.UnauthorizedUserError},
		{"application", caller(pai.Caller{User: "admin", Admin: true, Application: true}), 0, pai.ForbiddenUserError, pai.ForbiddenUserError},
		{"gone", caller(pai.Caller{User: "gone"}), -1, pai.NoUserError, pai.InvalidParametersError},
		{"too short", person, time.Millisecond, "", pai.InvalidParametersError},
		{"too long", person, 11 * 365 * 24 * time.Hour, "", pai.InvalidParametersError},
		{"person", person, 0, "", ""},
	} {
		own, _ := pai.CallerFrom(c.ctx)
		account, err := services.Users.User(c.ctx, own.User)
		if pai.CodeOf(err) != c.profile {
			t.Errorf("%s: own record: %v", c.name, err)
		}
		if err == nil && (account.Name != "admin" || !account.Admin || !slices.Equal(account.Groups, []pai.GroupName{"default", "admingroup"})) {
			t.Errorf("%s: own record is %+v", c.name, account)
		}
		token, err := services.Tokens.Issue(c.ctx, c.lifetime)
		if pai.CodeOf(err) != c.issue {
			t.Errorf("%s: issue: %v", c.name, err)
		}
		if err != nil {
			continue
		}
		if who, err := services.Tokens.Authenticate(t.Context(), token); err != nil || who.User != "admin" || who.Application {
			t.Errorf("%s: the token is %+v's, %v", c.name, who, err)
		}
	}
}
