// node-smpp as an SMSC. Commands come as JSON lines on stdin, what happens goes as JSON lines to
// stdout; see tests/fakes/peer.py. It reports the octets that came and, beside them, what it read
// in them: a second opinion on who a message is for.
'use strict';

const readline = require('readline');
const smpp = require('smpp');

const say = (event, fields = {}) => process.stdout.write(JSON.stringify({event, ...fields}) + '\n');

let server = null;
let port = 0;
let bound = null;
let count = 0;
let heldAfter = Infinity;
let held = [];

function answer(session, pdu) {
  const message_id = `n${++count}`;
  session.send(pdu.response({message_id}));
  say('submitted', {
    source: pdu.source_addr,
    destination: pdu.destination_addr,
    text: pdu.short_message.message.toString(),
    message_id,
  });
}

function accept(session) {
  // Listeners on `readable` pull the octets; `data` then shows each piece that was pulled.
  session.socket.on('data', (piece) => say('octets', {octets: piece.toString('hex')}));
  session.on('error', (error) => say('error', {why: String(error.code || error.message)}));
  session.on('close', () => say('closed'));
  session.on('enquire_link', (pdu) => session.send(pdu.response()));
  session.on('unbind', (pdu) => {
    say('unbound');
    session.send(pdu.response());
    session.close();
  });
  for (const kind of ['bind_transceiver', 'bind_transmitter', 'bind_receiver']) {
    session.on(kind, (pdu) => {
      bound = session;
      session.send(pdu.response({system_id: 'node'}));
      say('bound', {kind, system_id: pdu.system_id, password: pdu.password});
    });
  }
  session.on('submit_sm', (pdu) => {
    if (count >= heldAfter) {
      held.push([session, pdu]);
      say('held', {destination: pdu.destination_addr});
    } else {
      answer(session, pdu);
    }
  });
}

const commands = {
  listen() {
    server = smpp.createServer(accept);
    server.listen(port, '127.0.0.1', () => {
      port = server.address().port;
      say('listening', {port});
    });
  },
  deliver({source, destination, text, esm_class}) {
    const pdu = new smpp.PDU('deliver_sm', {
      source_addr: source, destination_addr: destination, short_message: text, esm_class,
    });
    bound.send(pdu, (response) => say('delivered', {status: response.command_status}));
    say('delivering', {octets: pdu.toBuffer().toString('hex')});
  },
  hold({after}) {
    heldAfter = count + after;
  },
  release() {
    heldAfter = Infinity;
    const pdus = held;
    held = [];
    for (const [session, pdu] of pdus) answer(session, pdu);
  },
  kill() {
    for (const session of server.sessions) session.socket.resetAndDestroy();
    server.close(() => say('killed'));
  },
};

readline.createInterface({input: process.stdin})
  .on('line', (line) => {
    const command = JSON.parse(line);
    commands[command.do](command);
  })
  .on('close', () => process.exit(0));
say('started');
