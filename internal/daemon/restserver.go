package daemon

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	k8srest "k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/auth"
	"github.com/pai-storage/pai-storage/internal/kube"
	"github.com/pai-storage/pai-storage/internal/peer"
	"github.com/pai-storage/pai-storage/internal/portal"
	"github.com/pai-storage/pai-storage/internal/rest"
)

// signingKeyName is the Secret that holds the key of the tokens.
const signingKeyName = "rest-server-signing-key"

// Times of a REST server's life.
const (
	startTimeout    = time.Minute // how long the Kubernetes API may take to answer at first
	shutdownTimeout = 20 * time.Second
	maxDrain        = 5 * time.Minute
)

// defaultPlacePatience is long enough for a file server to be started anew, and short beside the hours for which a cluster would stand idle.
const defaultPlacePatience = 15 * time.Minute

// gcPercent trades memory for time: most of the heap is the caches, which live long, and each collection walks through all of them.
const gcPercent = 200

// restServer is the configuration of the REST server.
type restServer struct {
	kubeconfig        string
	listen            string
	jobsNamespace     string
	systemNamespace   string
	bootstrapAdmin    string
	bootstrapPassword string
	keepOldHashes     bool
	acceptShortKey    bool
	virtualClusters   string
	drain             time.Duration
	signOn            signOnFlags
	proxies           peer.Proxies
	taskInit          string
	placePatience     time.Duration

	stdout   io.Writer
	log      *slog.Logger
	follower kubernetes.Interface // fills the caches; nil: the one that does the rest
	requests *requestCounter      // nil: not counted

	now   func() time.Time                     // nil: [time.Now]; what is stored goes by it
	after func(time.Duration) <-chan time.Time // nil: [time.After]; the drain goes by it
}

// RestServer runs the REST server until ctx ends. It prints one line, "listening on <URL>", to stdout, and logs JSON lines to stderr.
func RestServer(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s := &restServer{stdout: stdout, log: slog.New(slog.NewJSONHandler(stderr, nil))}
	return s.start(ctx, args, stderr)
}

// start is the program with what is not a flag set already.
func (s *restServer) start(ctx context.Context, args []string, stderr io.Writer) int {
	if status, ok := s.parse(args, stderr); !ok {
		return status
	}
	config, err := clientcmd.BuildConfigFromFlags("", s.kubeconfig)
	if err != nil {
		fmt.Fprintf(stderr, "rest-server: no way to Kubernetes: %v\nrest-server: --kubeconfig FILE says where it is\n", err)
		return 1
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	s.requests = newRequestCounter()
	client, err := s.connect(s.requests.watch(config))
	if err == nil {
		err = s.run(ctx, client)
	}
	if err != nil {
		s.log.Error("rest-server ends", "cause", err.Error())
		return 1
	}
	return 0
}

// connect makes the clients of the server, and keeps the one for the caches.
func (s *restServer) connect(config *k8srest.Config) (kubernetes.Interface, error) {
	var err error
	if s.follower, err = newKubernetes(patient(config, s.log)); err != nil {
		return nil, err
	}
	return newKubernetes(config)
}

// newKubernetes makes one client. The library's own limits on requests are for command line tools.
func newKubernetes(config *k8srest.Config) (kubernetes.Interface, error) {
	config = k8srest.CopyConfig(config)
	config.QPS, config.Burst = 500, 1000
	config.UserAgent = "pai-rest-server/" + version()
	return kubernetes.NewForConfig(config)
}

func (s *restServer) parse(args []string, stderr io.Writer) (status int, ok bool) {
	f := flag.NewFlagSet("rest-server", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&s.kubeconfig, "kubeconfig", "", "kubeconfig `file`; none when running in a pod")
	f.StringVar(&s.listen, "listen", ":9186", "`address` to listen on")
	f.StringVar(&s.jobsNamespace, "jobs-namespace", "default", "`namespace` of storages and jobs")
	f.StringVar(&s.systemNamespace, "system-namespace", kube.SystemNamespace, "`namespace` of the signing key and the audit trail")
	f.StringVar(&s.bootstrapAdmin, "bootstrap-admin", "", "create this administrator, and the groups that every cluster has, when missing")
	f.StringVar(&s.bootstrapPassword, "bootstrap-admin-password-file", "", "`file` with the password of that administrator")
	f.BoolVar(&s.keepOldHashes, "keep-old-hashes", false, "keep password hashes in the original's format, and make new ones in it; while it runs side by side")
	f.BoolVar(&s.acceptShortKey, "accept-short-signing-key", false, "sign tokens with a key of less than 32 bytes, taken over from the original")
	f.StringVar(&s.virtualClusters, "virtual-clusters", "", "YAML `file` that says what is guaranteed to which virtual cluster")
	f.DurationVar(&s.drain, "drain", 0, "how long to go on after being told to stop, not ready any more, until load balancers have noticed")
	f.StringVar(&s.taskInit, "task-init-image", "pai.local/task-init:1", "container `image` that makes personal folders before tasks start")
	f.DurationVar(&s.placePatience, "place-patience", defaultPlacePatience,
		"how long a job that cannot mount its storages keeps its workers before it gives them back for a while; 0 for as long as it takes")
	f.Func("trusted-proxies", "`addresses` and networks, with commas between them, whose X-Forwarded-For counts", func(text string) (err error) {
		s.proxies, err = peer.ParseProxies(text)
		return err
	})
	s.signOn.register(f)
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0, false
	case err != nil:
		return 2, false
	case f.NArg() > 0:
		fmt.Fprintf(stderr, "rest-server: unexpected argument %q\n", f.Arg(0))
		return 2, false
	case s.drain < 0 || s.drain > maxDrain:
		fmt.Fprintf(stderr, "rest-server: --drain %s: from 0s to %s\n", s.drain, maxDrain)
		return 2, false
	case s.placePatience < 0:
		fmt.Fprintf(stderr, "rest-server: --place-patience %s: 0s or more\n", s.placePatience)
		return 2, false
	case (s.bootstrapAdmin == "") != (s.bootstrapPassword == ""):
		fmt.Fprintln(stderr, "rest-server: --bootstrap-admin and --bootstrap-admin-password-file go together")
		return 2, false
	}
	if err := s.signOn.check(s.bootstrapAdmin); err != nil {
		fmt.Fprintf(stderr, "rest-server: %v\n", err)
		return 2, false
	}
	return 0, true
}

// run is the program after its flags: the tests enter here with a client of their own.
func (s *restServer) run(ctx context.Context, client kubernetes.Interface) error {
	ctx = klog.NewContext(ctx, logr.FromSlogHandler(s.log.Handler()))
	shares, err := readVirtualClusters(s.virtualClusters)
	if err != nil {
		return err
	}
	cluster, err := kube.New(client, kube.Options{
		JobsNamespace: s.jobsNamespace, SystemNamespace: s.systemNamespace, VirtualClusters: shares, Log: s.log,
		Now: s.now, Follower: s.follower, Ask: askServer, TaskInit: s.taskInit,
		PlacePatience: s.placePatience,
	})
	if err != nil {
		return err
	}
	key, err := s.prepare(ctx, cluster)
	if err != nil {
		return err
	}
	accounts, services, err := s.services(cluster, key)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", s.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	fmt.Fprintf(s.stdout, "listening on http://%s\n", listener.Addr())

	return s.live(ctx, cluster, accounts, services, listener)
}

// services wires what front ends may ask for.
func (s *restServer) services(cluster *kube.Cluster, key []byte) (*auth.Accounts, pai.Services, error) {
	accounts := auth.NewAccounts(cluster, key, auth.Options{KeepOldHashes: s.keepOldHashes, SignOn: s.signOn.on()})
	all := pai.Services{Storages: cluster, Groups: cluster, Users: accounts, Tokens: accounts, Jobs: cluster, Audit: cluster,
		VirtualClusters: cluster, Kubernetes: cluster, Readiness: cluster, StorageAccounts: accounts}
	if s.signOn.on() {
		openID, err := s.signOn.openID()
		if err != nil {
			return nil, pai.Services{}, err
		}
		if all.SignOn, err = auth.NewSignOn(accounts, openID); err != nil {
			return nil, pai.Services{}, err
		}
	}
	return accounts, auth.Guard(all, accounts), nil
}

// live serves until ctx ends. The caches, the audit trail and streams live on until the last request is answered.
func (s *restServer) live(ctx context.Context, cluster *kube.Cluster, accounts *auth.Accounts, services pai.Services, listener net.Listener) error {
	var ready, draining atomic.Bool
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	streams, endStreams := context.WithCancel(life)
	group, ctx := errgroup.WithContext(ctx)
	handler := rest.New(services, rest.Options{
		Version: version(), Ready: ready.Load, Draining: draining.Load, Log: s.log, Stop: streams, Collectors: collectors(cluster, s.requests),
		Proxies: s.proxies,
	})
	pages := portal.New(services, portal.Options{API: handler, Ready: ready.Load, Log: s.log, Proxies: s.proxies})
	group.Go(func() error { cluster.Run(life); return nil })
	group.Go(func() error {
		defer end()
		return s.serve(ctx, listener, pages, func() { draining.Store(true) }, endStreams)
	})
	group.Go(func() error {
		if err := cluster.WaitSynced(ctx); err != nil {
			return nil // ctx ended; whoever ended it says why
		}
		if err := s.bootstrap(ctx, cluster, accounts); err != nil {
			return err
		}
		ready.Store(true)
		cluster.Sweep(ctx)
		return nil
	})
	return group.Wait()
}

// prepare makes what must be there before the first request. Kubernetes may still be starting, so it tries for a while.
func (s *restServer) prepare(ctx context.Context, cluster *kube.Cluster) ([]byte, error) {
	var key []byte
	var last error
	err := wait.PollUntilContextTimeout(ctx, time.Second, startTimeout, true, func(ctx context.Context) (bool, error) {
		last = cluster.EnsureNamespaces(ctx, s.systemNamespace, kube.GroupNamespace, kube.UserNamespace, kube.TokenNamespace, kube.StorageAccountNamespace)
		if last == nil {
			key, last = cluster.SigningKey(ctx, s.systemNamespace, signingKeyName)
		}
		if last != nil {
			s.log.Warn("Kubernetes does not answer as it should yet", "cause", last.Error())
		}
		return last == nil, nil
	})
	if err != nil {
		return nil, errors.Join(err, last)
	}
	return key, s.checkKey(key)
}

// minKey is what RFC 7518 asks of a key for HS256.
const minKey = 32

// checkKey refuses a key that can be guessed, unless somebody has decided to live with it.
func (s *restServer) checkKey(key []byte) error {
	switch {
	case len(key) >= minKey:
		return nil
	case s.acceptShortKey:
		s.log.Warn("the signing key is short, so tokens may be forged: delete its Secret and restart to get a strong one", "namespace", s.systemNamespace, "name", signingKeyName)
		return nil
	}
	return fmt.Errorf("the signing key in the Secret %s/%s has %d bytes, and tokens signed with less than %d can be forged: delete the Secret to get a strong key "+
		"(everybody signs in once more), or start with --accept-short-signing-key", s.systemNamespace, signingKeyName, len(key), minKey)
}

// serve answers requests until ctx ends. Then it says that it is draining, goes on for a while, and finishes what is under way.
func (s *restServer) serve(ctx context.Context, listener net.Listener, handler http.Handler, drain, endStreams func()) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	defer endStreams()
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	drain()
	after := s.after
	if after == nil {
		after = time.After
	}
	s.log.Info("shutting down", "drain", s.drain)
	select {
	case err := <-done:
		return fmt.Errorf("serve: %w", err)
	case <-after(s.drain):
	}
	endStreams()
	finish, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(finish); err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	return nil
}
