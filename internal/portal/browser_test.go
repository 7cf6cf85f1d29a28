package portal_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/pai-storage/pai-storage/internal/auth"
	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/kubetest"
	"github.com/pai-storage/pai-storage/internal/openidtest"
	"github.com/pai-storage/pai-storage/internal/servertest"
)

// chromium opens a real browser. It asks nobody for anything: only the pages of the test are loaded.
func chromium(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		kubetest.Skip(t, "browser", "chromium is not installed: apt-get install chromium")
	}
	options := []chromedp.ExecAllocatorOption{chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.NoFirstRun, chromedp.Headless,
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WSURLReadTimeout(await.Limit), chromedp.WindowSize(1000, 700)}
	for _, flag := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "disable-dev-shm-usage"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	ctx, timeout := context.WithTimeout(ctx, await.Limit)
	t.Cleanup(timeout)
	return ctx
}

// do is one action of the person at the browser.
func do[T any](t *testing.T, ctx context.Context, action chromedp.Action[T]) T {
	t.Helper()
	result, err := chromedp.Run(ctx, action)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// picture keeps what the browser shows, for people, when PAI_TEST_PICTURES names a directory.
func picture(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv("PAI_TEST_PICTURES")
	if dir == "" {
		return
	}
	png := do(t, ctx, chromedp.CaptureScreenshot())
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestInABrowser(t *testing.T) {
	ctx := chromium(t)
	s := servertest.StartJobs(t, nil, someJobs())
	do(t, ctx, chromedp.Navigate(s.URL+"/"))
	picture(t, ctx, "login")
	do(t, ctx, chromedp.SendKeys(`input[name=username]`, "alice"))
	do(t, ctx, chromedp.SendKeys(`input[name=password]`, "wrong"))
	do(t, ctx, chromedp.Submit(`button`))
	fault := do(t, ctx, chromedp.Text(`[role=alert]`))
	picture(t, ctx, "refused")
	do(t, ctx, chromedp.SendKeys(`input[name=password]`, "secret-alice"))
	do(t, ctx, chromedp.Submit(`button`))
	do(t, ctx, chromedp.WaitVisible(`table`))
	title := do(t, ctx, chromedp.Title())
	table := do(t, ctx, chromedp.Text(`table`))
	user := do(t, ctx, chromedp.Text(`#user`))
	// The style sheet is let through by the policy.
	loaded(t, ctx)
	style := do(t, ctx, chromedp.Evaluate[string](`getComputedStyle(document.querySelector('table')).borderCollapse`))
	picture(t, ctx, "storages")
	if !strings.Contains(fault, "assword") || user != "alice" || title != "Storages · PAI Storage" || style != "collapse" {
		t.Errorf("fault %q, user %q, title %q, style %q", fault, user, title, style)
	}
	for _, want := range []string{"personal", "10.0.0.1:/users", "readonly", "read-only"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
	do(t, ctx, chromedp.Click(`nav a[href="/jobs"]`))
	jobs := do(t, ctx, chromedp.Text(`#jobs`))
	picture(t, ctx, "jobs")
	if !strings.Contains(jobs, "STO-301: node worker2 cannot mount home") || strings.Contains(jobs, "own") {
		t.Errorf("the list of jobs is\n%s", jobs)
	}
	do(t, ctx, chromedp.Click(`a[href="/jobs/alice~stuck"]`))
	finding := do(t, ctx, chromedp.Text(`.finding`))
	picture(t, ctx, "job-waiting")
	do(t, ctx, chromedp.Click(`#stop`))
	state := do(t, ctx, chromedp.Text(`h1 .state.STOPPED`))
	do(t, ctx, chromedp.Click(`#delete summary`))
	do(t, ctx, chromedp.Click(`#delete button`))
	left := do(t, ctx, chromedp.Text(`#jobs`))
	if !strings.Contains(finding, "apt-get install nfs-common") || state != "STOPPED" || strings.Contains(left, "stuck") {
		t.Errorf("finding %q, state %q, jobs after the deletion:\n%s", finding, state, left)
	}
	do(t, ctx, chromedp.SendKeys(`input[name=job]`, "train"))
	do(t, ctx, chromedp.Submit(`input[name=job]`))
	log := do(t, ctx, chromedp.Text(`pre.log`))
	picture(t, ctx, "job")
	do(t, ctx, chromedp.Click(`#user`))
	profile := do(t, ctx, chromedp.Text(`dl`))
	do(t, ctx, chromedp.Click(`main button`))
	token := do(t, ctx, chromedp.Text(`#token`))
	picture(t, ctx, "profile")
	if log != hostile || !strings.Contains(profile, "research") || strings.Count(token, ".") != 2 {
		t.Errorf("log %q, profile %q, token %q", log, profile, token)
	}
	setStoragePassword(t, ctx, s)
	do(t, ctx, chromedp.Click(`header button`))
	do(t, ctx, chromedp.WaitVisible(`input[name=username]`))
	do(t, ctx, chromedp.Navigate(s.URL+"/"))
	do(t, ctx, chromedp.WaitVisible(`input[name=username]`))
	where := do(t, ctx, chromedp.Location())
	if where != s.URL+"/login" {
		t.Errorf("after signing out / leads to %s", where)
	}
}

// loaded waits until the page is whole, with its style sheet: its text is there before.
func loaded(t *testing.T, ctx context.Context) {
	t.Helper()
	await.Until(t, "the page is loaded", func() bool { return do(t, ctx, chromedp.Evaluate[string](`document.readyState`)) == "complete" })
}

// setStoragePassword sets alice's SMB password on her profile, after a slip, and takes it away.
func setStoragePassword(t *testing.T, ctx context.Context, s *servertest.Server) {
	t.Helper()
	fill := func(password, again string) {
		do(t, ctx, chromedp.SendKeys(`#smb-form input[name=password]`, password))
		do(t, ctx, chromedp.SendKeys(`#smb-form input[name=again]`, again))
		do(t, ctx, chromedp.Click(`#smb-form button`))
	}
	none := do(t, ctx, chromedp.Text(`#smb-state`))
	fill("secret of the folder", "secret of the holder")
	fault := do(t, ctx, chromedp.Text(`[role=alert]`))
	picture(t, ctx, "smb-password-refused")
	fill("secret of the folder", "secret of the folder")
	do(t, ctx, chromedp.WaitVisible(`#smb-remove`))
	set := do(t, ctx, chromedp.Text(`#smb-state`))
	picture(t, ctx, "smb-password")
	account, err := s.Cluster.StorageAccount(t.Context(), "alice")
	if err != nil || account.Set.IsZero() || !strings.Contains(none, "none yet") || fault != "The two passwords differ." || !strings.Contains(set, "It was set on 20") {
		t.Errorf("the page said %q, %q and %q; the account is %+v, %v", none, fault, set, account, err)
	}
	do(t, ctx, chromedp.Click(`#smb-remove button`))
	if gone := do(t, ctx, chromedp.Text(`main:not(:has(#smb-remove)) #smb-state`)); !strings.Contains(gone, "none yet") {
		t.Errorf("after the removal the page says %q", gone)
	}
}

// TestSignOnInABrowser: the way through an identity provider works under our policy, cookies and all, and back out.
func TestSignOnInABrowser(t *testing.T) {
	ctx := chromium(t)
	s := servertest.StartSignOn(t, nil, func(url string) auth.OpenID {
		back := url + "/api/v2/authn/oidc/return"
		p := openidtest.Start(t, back, openidtest.Person{ID: "1", Name: "carol"}, openidtest.Person{ID: "2", Name: "bob"})
		return auth.OpenID{Issuer: p.URL, ClientID: openidtest.ClientID, ClientSecret: openidtest.ClientSecret, RedirectURL: back,
			Scopes: []string{"openid", "profile", "email"}, UsernameClaim: "preferred_username", GroupsClaim: "groups"}
	})
	signIn := func(name string) {
		do(t, ctx, chromedp.Navigate(s.URL+"/login"))
		picture(t, ctx, "sign-on")
		do(t, ctx, chromedp.Click(`#sign-on`))
		do(t, ctx, chromedp.SendKeys(`input[name=username]`, name))
		do(t, ctx, chromedp.SendKeys(`input[name=password]`, openidtest.Password))
		do(t, ctx, chromedp.Click(`button[type=submit]`))
	}
	signIn("bob") // whose name is somebody else's here
	if fault := do(t, ctx, chromedp.Text(`[role=alert]`)); !strings.Contains(fault, "There is a user bob already") {
		t.Errorf("bob is told %q", fault)
	}
	picture(t, ctx, "sign-on-refused")
	signIn("carol")
	if user := do(t, ctx, chromedp.Text(`#user`)); user != "carol" {
		t.Errorf("signed in as %q", user)
	}
	picture(t, ctx, "sign-on-done")
	do(t, ctx, chromedp.Click(`header a.button`))
	do(t, ctx, chromedp.WaitVisible(`#sign-on`))
	do(t, ctx, chromedp.Navigate(s.URL+"/"))
	if page := do(t, ctx, chromedp.Location()); page != s.URL+"/login" {
		t.Errorf("after signing out, the storages are at %s", page)
	}
}
