// Package client is the Go client of the REST API.
//
// Use it in programs and tests that speak to a running server; paictl does. Its rules:
//
//   - What the server refuses comes back as a [*pai.Error] with the server's code and message. Any other error means that the server was
//     not reached or did not answer as one.
//   - A Client may be used by several goroutines at once. It keeps no state but the token.
//
// Example:
//
//	c, err := client.New("http://127.0.0.1:9186", "")
//	session, err := c.Login(ctx, "alice", "secret-password", 0)
//	storages, err := c.WithToken(session.Token).Storages(ctx, false)
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	pai "github.com/pai-storage/pai-storage"
)

// Client speaks to one server.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// answerTimeout bounds every request but logs, which may follow a job for days.
const answerTimeout = time.Minute

// New makes a client of the server at a URL such as http://127.0.0.1:9186 or https://master/rest-server. The token may be empty.
func New(server, token string) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.User != nil {
		return nil, pai.Errorf(pai.InvalidParametersError, "%q is not the URL of a server: expected http://HOST:PORT", server)
	}
	return &Client{base: strings.TrimRight(u.String(), "/") + "/api/v2", token: token, http: &http.Client{}}, nil
}

// WithToken returns a client of the same server with another token.
func (c *Client) WithToken(token string) *Client {
	return &Client{base: c.base, token: token, http: c.http}
}

// call is one request.
type call struct {
	method      string
	path        string
	query       url.Values
	contentType string
	body        []byte
	ifMatch     string
}

// do sends a request and decodes the answer's body into out, unless out is nil. It returns the answer's headers.
func (c *Client) do(ctx context.Context, r call, out any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	resp, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if out == nil {
		return resp.Header, nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		if ended := context.Cause(ctx); ended != nil && ended != context.DeadlineExceeded {
			return nil, ended
		}
		return nil, fmt.Errorf("%s %s: read the answer: %w", r.method, c.base+r.path, err)
	}
	return resp.Header, nil
}

// send sends a request and returns an answer that is no refusal. The caller closes its body.
func (c *Client) send(ctx context.Context, r call) (*http.Response, error) {
	target := c.base + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.method, r.path, err)
	}
	for key, value := range map[string]string{"Content-Type": r.contentType, "If-Match": r.ifMatch} {
		if value != "" {
			req.Header.Set(key, value)
		}
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ended := context.Cause(ctx); ended != nil && ended != context.DeadlineExceeded {
			return nil, ended // by the caller: that is not the server's fault
		}
		var in *url.Error
		if errors.As(err, &in) {
			err = in.Err // without the URL, which is in the message already
		}
		return nil, fmt.Errorf("reach the server at %s: %w", strings.TrimSuffix(c.base, "/api/v2"), err)
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		return nil, refusal(resp)
	}
	return resp, nil
}

// refusal reads the server's error.
func refusal(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	var body struct {
		Code    pai.Code `json:"code"`
		Message string   `json:"message"`
	}
	if err := json.Unmarshal(text, &body); err != nil || body.Code == "" {
		return fmt.Errorf("the server answered %s, which is not how a PAI server refuses", resp.Status)
	}
	return &pai.Error{Code: body.Code, Message: body.Message}
}

func (c *Client) json(method, path string, body any) (call, error) {
	text, err := json.Marshal(body)
	return call{method: method, path: path, contentType: "application/json", body: text}, err
}
