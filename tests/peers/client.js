// node-smpp as an ESME. Commands come as JSON lines on stdin, what happens goes as JSON lines to
// stdout; see tests/fakes/peer.py. Nothing here knows of smsfilter.
'use strict';

const readline = require('readline');
const smpp = require('smpp');

const say = (event, fields = {}) => process.stdout.write(JSON.stringify({event, ...fields}) + '\n');

let session = null;

function bind({port, system_id, password}) {
  const mine = smpp.connect({host: '127.0.0.1', port}, () => {
    mine.bind_transceiver({system_id, password}, (pdu) =>
      say('bound', {status: pdu.command_status}));
  });
  mine.on('close', () => say('closed'));
  mine.on('error', (error) => say('error', {why: String(error.code || error.message)}));
  mine.on('enquire_link', (pdu) => mine.send(pdu.response()));
  mine.on('unbind', (pdu) => mine.send(pdu.response()));
  mine.on('deliver_sm', (pdu) => {
    mine.send(pdu.response());
    say('delivered', {
      source: pdu.source_addr,
      destination: pdu.destination_addr,
      esm_class: pdu.esm_class,
      text: pdu.short_message.message.toString(),
    });
  });
  session = mine;
}

function submit({source, destinations, window}) {
  let next = 0;
  const one = () => {
    if (next >= destinations.length) return;
    const destination_addr = destinations[next++];
    const pdu = new smpp.PDU('submit_sm', {
      source_addr: source,
      destination_addr,
      short_message: `hello ${next}`,
      registered_delivery: 1,
    });
    session.send(pdu, (answer) => {
      say('answered', {
        destination: destination_addr,
        status: answer.command_status,
        message_id: answer.message_id || '',
      });
      one();
    });
    say('sent', {destination: destination_addr, octets: pdu.toBuffer().toString('hex')});
  };
  for (let n = 0; n < window; n++) one();
}

const commands = {
  bind,
  submit,
  unbind: () => session.unbind((pdu) => {
    say('unbound', {status: pdu.command_status});
    session.close();
  }),
};

readline.createInterface({input: process.stdin})
  .on('line', (line) => {
    const command = JSON.parse(line);
    commands[command.do](command);
  })
  .on('close', () => process.exit(0));
say('started');
