package bench

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// target is what is asked for, over and over.
type target struct {
	address string
	tls     *tls.Config // nil: in clear
	request []byte
}

// figures are of one turn, or the medians of several. Times are in seconds.
type figures struct {
	Rate     float64 `json:"requestsPerSecond"`
	P50      float64 `json:"p50"`
	P99      float64 `json:"p99"`
	CPU      float64 `json:"cpuMicroseconds"` // of the server, for a request
	Alone    float64 `json:"p50OfOneConnection"`
	requests int
	bytes    int
}

func request(path, host, token string) []byte {
	head := "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n"
	if token != "" {
		head += "Authorization: Bearer " + token + "\r\n"
	}
	return []byte(head + "\r\n")
}

// ask keeps connections busy for a while: each asks again when it has its answer. It speaks HTTP with as little as it can, because it shares
// the machine with the server that it measures.
func ask(t *testing.T, to target, connections int, during time.Duration) figures {
	t.Helper()
	times := make([][]time.Duration, connections)
	sizes := make([]int, connections)
	faults := make(chan error, connections)
	var all sync.WaitGroup
	start := time.Now()
	until := start.Add(during)
	for i := range connections {
		all.Go(func() {
			var err error
			if times[i], sizes[i], err = askOne(to, until); err != nil {
				faults <- err
			}
		})
	}
	all.Wait()
	took := time.Since(start).Seconds()
	close(faults)
	if err := <-faults; err != nil {
		t.Fatalf("%s: %v", to.request[:40], err)
	}
	merged := slices.Concat(times...)
	slices.Sort(merged)
	n := len(merged)
	return figures{Rate: float64(n) / took, P50: merged[n/2].Seconds(), P99: merged[n*99/100].Seconds(), requests: n, bytes: sizes[0]}
}

func askOne(to target, until time.Time) (times []time.Duration, size int, err error) {
	conn, err := net.Dial("tcp", to.address)
	if err != nil {
		return nil, 0, err
	}
	if to.tls != nil {
		conn = tls.Client(conn, to.tls)
	}
	defer conn.Close()
	conn.SetDeadline(until.Add(10 * time.Second))
	in := bufio.NewReaderSize(conn, 32<<10)
	for len(times) == 0 || time.Now().Before(until) {
		began := time.Now()
		if _, err := conn.Write(to.request); err != nil {
			return nil, 0, err
		}
		if size, err = readAnswer(in); err != nil {
			return nil, 0, err
		}
		times = append(times, time.Since(began))
	}
	return times, size, nil
}

func readAnswer(in *bufio.Reader) (size int, err error) {
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("got %s", resp.Status)
	}
	if err == nil && n == 0 {
		err = errors.New("the answer is empty")
	}
	return int(n), err
}

// median is the turn in the middle, figure by figure.
func median(all []figures) figures {
	of := func(pick func(figures) float64) float64 {
		values := make([]float64, len(all))
		for i, f := range all {
			values[i] = pick(f)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return figures{
		Rate: of(func(f figures) float64 { return f.Rate }), P50: of(func(f figures) float64 { return f.P50 }), P99: of(func(f figures) float64 { return f.P99 }),
		CPU: of(func(f figures) float64 { return f.CPU }), Alone: of(func(f figures) float64 { return f.Alone }),
	}
}
