package auth

import (
	"crypto/rand"
	"encoding/hex"
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
