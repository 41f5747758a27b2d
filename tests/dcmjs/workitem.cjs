// A workitem as dcmjs reads it, and a claim as dcmjs writes it; the test in api/workitems.rs runs it.
//
//   node workitem.cjs WORKITEM TRANSACTION
//
// The last line is one of JSON. NODE_PATH leads to dcmjs.
'use strict';

const fs = require('fs');
const dcmjs = require('dcmjs');
const { DicomMetaDictionary } = dcmjs.data;

dcmjs.log.setLevel('error');

const workitem = DicomMetaDictionary.naturalizeDataset(JSON.parse(fs.readFileSync(process.argv[2], 'utf8')));
const items = (sequence) => (sequence === undefined ? [] : [].concat(sequence));
const claim = DicomMetaDictionary.denaturalizeDataset({
  TransactionUID: process.argv[3],
  ProcedureStepState: 'IN PROGRESS',
});
const name = items(workitem.PatientName)[0];
const inputs = items(workitem.InputInformationSequence);
console.log(
  JSON.stringify({
    state: workitem.ProcedureStepState,
    name: typeof name === 'string' ? name : name.Alphabetic,
    accession: items(workitem.ReferencedRequestSequence)[0].AccessionNumber,
    priority: workitem.ScheduledProcedureStepPriority,
    instances: inputs.reduce((sum, input) => sum + items(input.ReferencedSOPSequence).length, 0),
    retrieveFrom: items(inputs[0].DICOMRetrievalSequence)[0].RetrieveAETitle,
    claim,
  })
);
