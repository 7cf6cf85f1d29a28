// Package session is what a browser keeps of a server: a token while somebody is signed in, what it needs on its way back from an identity
// provider, and what went wrong on it. All of it is in cookies that scripts cannot read. The API and the pages use it.
//
// Example:
//
//	http.SetCookie(w, session.Cookie(session.Token, token, 0, session.OverTLS(r)))
package session

import (
	"encoding/base64"
	"net/http"
	"time"
)

// The names of the cookies.
const (
	Token  = "pai-session"       // an API token
	SignOn = "pai-sign-on"       // until the browser is back from the identity provider
	Fault  = "pai-sign-on-fault" // a sentence for people
)

// OverTLS tells whether the browser speaks TLS, to us or to a proxy, which says so in a header. Who forges that gets a stricter cookie.
func OverTLS(r *http.Request) bool {
	return r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https"
}

// Cookie gives the browser something to keep for so long, 0 for until it is closed; "" takes it away.
func Cookie(name, value string, keep time.Duration, secure bool) *http.Cookie {
	c := &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: int(keep.Seconds()), HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: secure}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}

// FaultCookie keeps a sentence for the next page; "" takes it away.
func FaultCookie(sentence string, secure bool) *http.Cookie {
	if sentence == "" {
		return Cookie(Fault, "", 0, secure)
	}
	return Cookie(Fault, base64.RawURLEncoding.EncodeToString([]byte(sentence)), time.Minute, secure)
}

// FaultOf is the sentence that the browser brings; "" for none.
func FaultOf(r *http.Request) string {
	c, err := r.Cookie(Fault)
	if err != nil {
		return ""
	}
	text, err := base64.RawURLEncoding.DecodeString(c.Value)
	if err != nil {
		return ""
	}
	return string(text)
}
