// A process with candidates of Go's libraries: docker/leadership on Consul or ZooKeeper, and the Election of etcd's
// clientv3. It takes the commands of worker.py, one JSON object a line, and tells the same:
//
//	peers URL      etcd://HOST, consul://HOST or zookeeper://HOST
//
// `elected` is the moment at which the library tells the candidate, `resigned` the one before its call is made.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io/ioutil"
	"log"
	"net/url"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/coreos/etcd/clientv3"
	"github.com/coreos/etcd/clientv3/concurrency"
	"github.com/docker/leadership"
	"github.com/docker/libkv/store"
	"github.com/docker/libkv/store/consul"
	"github.com/docker/libkv/store/zookeeper"
)

type command struct {
	Do       string  `json:"do"`
	Election string  `json:"election"`
	CoolDown float64 `json:"cool_down"`
	TTL      float64 `json:"ttl"`
}

// A contender waits until it is elected, tells it, leads until it is told to resign, and gives the election up.
type contender interface {
	campaign()
	resign()
}

var writing sync.Mutex

// The clock of worker.py: CLOCK_BOOTTIME.
func now() float64 {
	var at syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, 7, uintptr(unsafe.Pointer(&at)), 0)
	return float64(at.Sec) + float64(at.Nsec)/1e9
}

func tell(what string, at float64, more map[string]interface{}) {
	line := map[string]interface{}{"what": what, "at": at}
	for key, value := range more {
		line[key] = value
	}
	text, _ := json.Marshal(line)
	writing.Lock()
	defer writing.Unlock()
	fmt.Println(string(text))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// -- etcd: one session for all elections of the process, and more for more candidates of the same election, whose
// keys are named for their sessions ------------------------------------------------------------------------------

type etcdContender struct {
	election *concurrency.Election
}

func (c *etcdContender) campaign() { must(c.election.Campaign(context.Background(), "peer")) }
func (c *etcdContender) resign()   { must(c.election.Resign(context.Background())) }

// -- Consul and ZooKeeper: docker/leadership; one client, a lock of its own for each election --------------------

type dockerContender struct {
	client    store.Store
	key       string
	ttl       time.Duration
	candidate *leadership.Candidate
}

func (c *dockerContender) campaign() {
	c.candidate = leadership.NewCandidate(c.client, c.key, "peer", c.ttl)
	elected, errors := c.candidate.RunForElection()
	for led := range elected {
		if led {
			go func() {
				for range elected {
				}
			}()
			go func() {
				for range errors {
				}
			}()
			return
		}
	}
	must(<-errors)
}

// Stop, not Resign: that one would stand again at once.
func (c *dockerContender) resign() { c.candidate.Stop() }

// -- the process ------------------------------------------------------------------------------------------------

type peer struct {
	kind, host string
	etcd       *clientv3.Client
	session    *concurrency.Session
	stands     map[string]bool
	client     store.Store
	lock       sync.Mutex
	leader     chan float64
}

func (p *peer) connect(ttl float64) {
	if p.session != nil || p.client != nil {
		return
	}
	var err error
	switch p.kind {
	case "etcd":
		p.etcd, err = clientv3.New(clientv3.Config{Endpoints: []string{p.host}, DialTimeout: 5 * time.Second})
		must(err)
		p.session, err = concurrency.NewSession(p.etcd, concurrency.WithTTL(int(ttl)))
	case "consul":
		p.client, err = consul.New([]string{p.host}, nil)
	case "zookeeper":
		timeout := time.Duration(ttl * float64(time.Second))
		p.client, err = zookeeper.New([]string{p.host}, &store.Config{ConnectionTimeout: timeout})
	}
	must(err)
}

func (p *peer) contender(election string, ttl float64) contender {
	if p.kind == "etcd" {
		session := p.session
		if p.stands[election] {
			var err error
			session, err = concurrency.NewSession(p.etcd, concurrency.WithTTL(int(ttl)))
			must(err)
		}
		p.stands[election] = true
		return &etcdContender{concurrency.NewElection(session, election)}
	}
	// libkv halves it, because Consul ends a session after twice its TTL.
	return &dockerContender{client: p.client, key: election, ttl: 2 * time.Duration(ttl*float64(time.Second))}
}

func (p *peer) contend(each contender, election string, began float64) {
	for {
		each.campaign()
		at := now()
		mine := make(chan float64, 1)
		p.lock.Lock()
		p.leader = mine
		p.lock.Unlock()
		tell("elected", at, map[string]interface{}{"token": int64(1e6 * at), "election": election, "began": began})
		coolDown := <-mine
		at = now()
		each.resign()
		tell("resigned", at, nil)
		time.Sleep(time.Duration(coolDown * float64(time.Second)))
	}
}

func main() {
	log.SetOutput(ioutil.Discard)
	address, err := url.Parse(os.Args[1])
	must(err)
	p := &peer{kind: address.Scheme, host: address.Host, stands: map[string]bool{}}
	tell("ready", now(), nil)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		given := command{TTL: 15}
		must(json.Unmarshal(lines.Bytes(), &given))
		switch given.Do {
		case "stand":
			p.connect(given.TTL)
			began := now()
			go p.contend(p.contender(given.Election, given.TTL), given.Election, began)
		case "resign":
			p.lock.Lock()
			p.leader <- given.CoolDown
			p.lock.Unlock()
		}
	}
}
