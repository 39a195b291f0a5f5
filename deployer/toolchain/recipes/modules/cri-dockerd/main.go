// Upstream's cri-dockerd, whose own main takes the API server's library for the handling of two signals.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/Mirantis/cri-dockerd/cmd"
	"k8s.io/component-base/logs"
)

func main() {
	logs.InitLogs()
	defer logs.FlushLogs()
	if err := cmd.NewDockerCRICommand(stopped()).Execute(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// stopped is closed by the first signal to end; the second ends the process at once.
func stopped() <-chan struct{} {
	stop, signals := make(chan struct{}), make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		close(stop)
		<-signals
		os.Exit(1)
	}()
	return stop
}
