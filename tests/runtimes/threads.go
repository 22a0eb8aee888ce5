// Goroutines that keep their threads: `threads N` has at least N threads, says `full`, and ends with its stdin.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"
)

func keepThread(block chan bool) {
	runtime.LockOSThread()
	<-block
}

func main() {
	wanted, err := strconv.Atoi(os.Args[1])
	if err != nil {
		os.Exit(2)
	}
	block := make(chan bool)
	for i := 0; i < wanted; i++ {
		go keepThread(block)
	}
	for {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			os.Exit(3)
		}
		if len(tasks) >= wanted {
			break
		}
		time.Sleep(time.Millisecond)
	}
	fmt.Println("full")
	bufio.NewReader(os.Stdin).ReadString('\n')
}
