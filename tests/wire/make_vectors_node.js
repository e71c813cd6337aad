/* Write vectors_node.jsonl: PDUs as node-smpp makes them, with what it was asked to put in.
 *
 * In an empty directory: npm install smpp
 * NODE_PATH=$PWD/node_modules node .../tests/wire/make_vectors_node.js > .../vectors_node.jsonl
 *
 * It covers what smpplib does not know: submit_multi, replace_sm, cancel_sm, outbind, broadcast.
 * Strings stand for octets, character by character (Latin-1).
 */
'use strict';

const {PDU, addTLV, tlvs} = require('smpp');
const {version} = require('smpp/package.json');

const SOURCE = {source_addr_ton: 5, source_addr_npi: 0, source_addr: '10657555'};
const DESTINATION = {dest_addr_ton: 1, dest_addr_npi: 1, destination_addr: '8613800138000'};
const BIND = {
  system_id: 'acme', password: 'secret08', system_type: '', interface_version: 0x50,
  addr_ton: 0, addr_npi: 0, address_range: ''
};
const UCS_2 = Buffer.from('您的验证码是 123456', 'utf16le').swap16().toString('latin1');
const MULTI = [
  {dest_addr_ton: 1, dest_addr_npi: 1, destination_addr: '8613800138000'},
  {dl_name: 'friends'},
  {dest_addr_ton: 0, dest_addr_npi: 0, destination_addr: '13900139000'}
];
const BROADCAST_TLVS = [
  ['broadcast_area_identifier', 0x0606, '\x00Rizhao'],
  ['broadcast_area_identifier', 0x0606, '\x00Dezhou'],
  ['broadcast_content_type', 0x0601, '\x01\x00\x02'],
  ['broadcast_rep_num', 0x0604, '\x00\x03', 3],
  ['broadcast_frequency_interval', 0x0605, '\x09\x00\x0a']
];

addTLV('vendor_route', {id: 0x1401, type: tlvs.message_payload.type});

// command, fields, TLVs as [name, tag, octets, what node-smpp is given if not these], status
const CASES = [
  ['bind_transmitter', BIND],
  ['bind_receiver', BIND],
  ['bind_transceiver', {...BIND, address_range: 'r'.repeat(40), system_type: 't'.repeat(12)}],
  ['bind_transceiver_resp', {system_id: 'smsc'}, [['sc_interface_version', 0x0210, '\x34', 0x34]]],
  ['bind_transceiver_resp', {}, [], 0x0e],
  ['outbind', {system_id: 'smsc', password: 'secret08'}],
  ['unbind', {}],
  ['unbind_resp', {}],
  ['generic_nack', {}, [], 0x02],
  ['enquire_link', {}],
  ['enquire_link_resp', {}],
  ['submit_sm', {...SOURCE, ...DESTINATION, data_coding: 0, short_message: 'hello'}],
  ['submit_sm', {...SOURCE, ...DESTINATION, data_coding: 8, short_message: UCS_2}],
  ['submit_sm', {
    ...SOURCE, ...DESTINATION, service_type: 'CMT', esm_class: 0x40, protocol_id: 1,
    priority_flag: 2, schedule_delivery_time: '260101120000004+',
    validity_period: '000007000000000R', registered_delivery: 1, replace_if_present_flag: 1,
    data_coding: 4, sm_default_msg_id: 7, short_message: '\x06\x08\x04\x12\x34\x03\x02abc'
  }],
  ['submit_sm', {...SOURCE, ...DESTINATION, data_coding: 15, short_message: ''}, [
    ['message_payload', 0x0424, '\xc4\xe3\xba\xc3'],
    ['callback_num', 0x0381, '\x01\x00\x0110086'],
    ['vendor_route', 0x1401, '\x00\xff']
  ]],
  ['submit_sm', {...SOURCE, ...DESTINATION, data_coding: 0, short_message: 'z'.repeat(255)}],
  ['submit_sm_resp', {message_id: '9f3c0a'}],
  ['submit_sm_resp', {}, [], 0x66],
  ['submit_multi', {...SOURCE, dest_address: MULTI, data_coding: 0, short_message: 'all'}],
  ['submit_multi_resp', {message_id: '1', unsuccess_sme: []}],
  ['submit_multi_resp', {message_id: '2', unsuccess_sme: [
    {dest_addr_ton: 1, dest_addr_npi: 1, destination_addr: '8613800138000',
      error_status_code: 0x66},
    {dest_addr_ton: 0, dest_addr_npi: 0, destination_addr: '13900139000', error_status_code: 0x400}
  ]}],
  ['deliver_sm', {
    ...SOURCE, ...DESTINATION, esm_class: 4, data_coding: 0, short_message: 'id:9 stat:DELIVRD'
  }, [
    ['receipted_message_id', 0x001e, '9\x00', '9'],
    ['message_state', 0x0427, '\x02', 2],
    ['network_error_code', 0x0423, '\x03\x00\x00']
  ]],
  ['deliver_sm_resp', {message_id: ''}],
  ['data_sm', {
    ...SOURCE, ...DESTINATION, destination_addr: '8'.repeat(64), esm_class: 0,
    registered_delivery: 1, data_coding: 0
  }, [['message_payload', 0x0424, 'data']]],
  ['data_sm_resp', {message_id: '77'}, [['delivery_failure_reason', 0x0425, '\x01', 1]]],
  ['query_sm', {message_id: '9f3c0a', ...SOURCE}],
  ['query_sm_resp', {
    message_id: '9f3c0a', final_date: '260101120000004+', message_state: 2, error_code: 0
  }],
  ['cancel_sm', {service_type: '', message_id: '9f3c0a', ...SOURCE, ...DESTINATION}],
  ['cancel_sm_resp', {}],
  ['replace_sm', {
    message_id: '9f3c0a', ...SOURCE, schedule_delivery_time: '', validity_period: '',
    registered_delivery: 0, sm_default_msg_id: 0, short_message: 'other'
  }],
  ['replace_sm_resp', {}, [], 0x13],
  ['alert_notification', {
    source_addr_ton: 1, source_addr_npi: 1, source_addr: '8613800138000',
    esme_addr_ton: 5, esme_addr_npi: 0, esme_addr: '10657555'
  }, [['ms_availability_status', 0x0422, '\x00', 0]]],
  ['broadcast_sm', {...SOURCE, message_id: '', priority_flag: 1, data_coding: 8}, BROADCAST_TLVS],
  ['broadcast_sm_resp', {message_id: 'b1'}],
  ['query_broadcast_sm', {message_id: 'b1', ...SOURCE}],
  ['query_broadcast_sm_resp', {message_id: 'b1'}, [['message_state', 0x0427, '\x01', 1]]],
  ['cancel_broadcast_sm', {service_type: '', message_id: 'b1', ...SOURCE}],
  ['cancel_broadcast_sm_resp', {}]
];

const octets = (text) => Buffer.from(text, 'latin1');

const entries = (value) => value.map((one) =>
  'dl_name' in one
    ? [one.dl_name]
    : ['dest_addr_ton', 'dest_addr_npi', 'destination_addr', 'error_status_code']
      .filter((name) => name in one).map((name) => one[name]));

CASES.forEach(([command, fields, optional = [], status = 0], index) => {
  const sequence = (index + 1) * 0x01010101;
  const given = {...fields, command_status: status, sequence_number: sequence};
  if (typeof given.short_message === 'string') given.short_message = octets(given.short_message);
  for (const [name, , text, value = octets(text)] of optional) {
    if (tlvs[name].multiple) (given[name] = given[name] || []).push(value);
    else given[name] = value;
  }
  const written = {...fields};
  for (const name of ['dest_address', 'unsuccess_sme']) {
    if (name in written) written[name] = entries(written[name]);
  }
  const row = {
    stack: `node-smpp ${version}`, command, status, sequence, fields: written,
    tlvs: optional.map(([, tag, text]) => [tag, text]),
    octets: new PDU(command, given).toBuffer().toString('hex')
  };
  process.stdout.write(JSON.stringify(row) + '\n');
});
