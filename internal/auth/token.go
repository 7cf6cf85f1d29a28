package auth

import (
	"crypto/rand"
	"encoding/hex"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	pai "github.com/pai-storage/pai-storage"
)

// signer issues and reads tokens. It does not know which of them were revoked.
type signer struct {
	key []byte
	now func() time.Time
}

// claims is the payload of a token: the original's, and an id that keeps two tokens of one second apart.
type claims struct {
	Username    string `json:"username"`
	Application bool   `json:"application"`
	jwt.RegisteredClaims
}

// maxTokenLength bounds what is parsed at all.
const maxTokenLength = 4096

// issue makes a token. Application tokens do not expire.
func (s signer) issue(user pai.UserName, application bool, lifetime time.Duration) (string, error) {
	var id [16]byte
	rand.Read(id[:])
	now := s.now()
	c := claims{Username: string(user), Application: application}
	c.ID, c.IssuedAt = hex.EncodeToString(id[:]), jwt.NewNumericDate(now)
	if !application {
		c.ExpiresAt = jwt.NewNumericDate(now.Add(lifetime))
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(s.key)
}

// readTokens remembers tokens whose signature was checked, because that costs more than all the rest of a request. Only tokens that are
// listed get in, so that nobody can fill it; whether they expired or were revoked is asked each time.
type readTokens struct {
	mu     sync.RWMutex
	claims map[string]claims
}

// maxReadTokens bounds the memory. All are forgotten then: those in use are back with their next request.
const maxReadTokens = 20_000

func (r *readTokens) get(token string) (claims, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	c, ok := r.claims[token]
	return c, ok
}

func (r *readTokens) put(token string, c claims) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.claims == nil || len(r.claims) >= maxReadTokens {
		r.claims = map[string]claims{}
	}
	r.claims[token] = c
}

// expired is what reading the token again would find.
func (s signer) expired(c claims) bool {
	return c.ExpiresAt != nil && !s.now().Before(c.ExpiresAt.Time)
}

// read checks signature and expiry.
func (s signer) read(token string) (claims, error) {
	var c claims
	if len(token) > maxTokenLength {
		return c, jwt.ErrTokenMalformed
	}
	_, err := jwt.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return s.key, nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithTimeFunc(s.now), jwt.WithStrictDecoding())
	return c, err
}

// unproven reads what a token says, whoever signed it; nothing when it is none.
func unproven(token string) claims {
	var c claims
	if len(token) > maxTokenLength {
		return claims{}
	}
	if _, _, err := jwt.NewParser().ParseUnverified(token, &c); err != nil {
		return claims{}
	}
	return c
}
