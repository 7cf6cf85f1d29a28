// s3server is an S3 server over a local directory, for tests: rclone's.
//
//	s3server --listen ADDRESS --directory DIR --key-file FILE
//
// Each directory in DIR is a bucket. FILE has one line, ACCESSKEY:SECRETKEY.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"

	_ "github.com/rclone/rclone/backend/local"
	"github.com/rclone/rclone/cmd"
	_ "github.com/rclone/rclone/cmd/serve/s3"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9000", "`address`")
	directory := flag.String("directory", "", "`directory` with a directory for each bucket")
	keyFile := flag.String("key-file", "", "`file` with the key")
	flag.Parse()
	key, err := os.ReadFile(*keyFile)
	if err != nil {
		fmt.Fprintln(os.Stderr, "s3server:", err)
		os.Exit(1)
	}
	os.Args = []string{"s3server", "serve", "s3", "--config", "", "--addr", *listen, "--auth-key", strings.Replace(strings.TrimSpace(string(key)), ":", ",", 1), *directory}
	cmd.Main()
}
